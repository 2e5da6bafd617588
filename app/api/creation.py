"""A tuning created, whichever face of the api asks for it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from msgspec import Struct

from app.api.decisions import decided
from app.api.errors import ApiError, invalid
from app.api.limits import release, take_create
from app.api.reading import Found, find_tuning
from app.api.schemas.errors import RequestFault
from app.api.schemas.tunings import NOTHING_TOLD
from app.api.session import Session
from app.catalogue.catalogue import CATALOGUE
from app.catalogue.memory import estimate
from app.datasets.formats import FORMATS, fits
from app.domain.files import File
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.ids import derive_id
from app.domain.models import BaseModel
from app.domain.tunings import TUNINGS, CreateTuning, FileRef, Method, ModelRef, Tuning, WarmStart

TUNED_PREFIX = "ft:"
EARLIER = """
SELECT t.state FROM live_tuned_models m JOIN tunings t ON t.id = m.tuning_id
WHERE m.id = $1 AND m.account_id = $2
"""

logger = structlog.get_logger("api")


class Made(Struct, frozen=True):
    """A tuning that was created, whether the read model shows it, and headers for the answer."""

    found: Found
    seen: bool
    headers: dict[str, str]


async def create_tuning(
    session: Session, values: dict[str, Any], faults: list[RequestFault], request_hash: str, key: str | None
) -> Made:
    """Create a tuning of the fields of a `TuningRequest`, whose `faults` so far are told with all others.

    With an Idempotency-Key, `key`, the same request makes the same tuning. Raises `ApiError`.
    """
    return await _created(
        session, lambda: command_of(session, values, faults, request_hash), request_hash, key
    )


async def rerun_tuning(session: Session, tuning: Tuning, key: str | None) -> Made:
    """Create a tuning that repeats `tuning`: the same model, files, hyperparameters and seed.

    With an Idempotency-Key, `key`, a repeat makes the same one. Raises `ApiError`.
    """
    request_hash = hashlib.sha256(f"rerun {tuning.id}".encode()).hexdigest()
    return await _created(session, lambda: _command_again(session, tuning, request_hash), request_hash, key)


async def _created(
    session: Session, command: Callable[[], Awaitable[CreateTuning]], request_hash: str, key: str | None
) -> Made:
    account_id = session.caller.account_id
    job_id = derive_id("job", account_id, key) if key else derive_id("job", uuid4().hex)
    if key is not None and (repeated := await _repeated(session, job_id, request_hash)) is not None:
        return repeated
    body = await command()
    pool = session.service.pool
    headers = await take_create(pool, account_id, job_id, session.limits)
    try:
        if body.rerun_of is None:
            await session.service.overlaps.of(body.training_file, body.validation_file)
    except BaseException:  # nothing was sent
        await release(pool, job_id)
        raise
    try:
        reply, seen = await decided(session, TUNINGS, job_id, body, certain=key is not None)
    except ApiError as error:
        if error.status < 500:  # refused; without an answer the command may still take
            await release(pool, job_id)
        raise
    tuning = msgspec.json.decode(reply.state, type=Tuning)
    logger.info("job_created", job_id=job_id, user_id=account_id, model=tuning.model.id)
    return Made(Found(tuning, reply.version, NOTHING_TOLD), seen, headers)


async def _repeated(session: Session, job_id: str, request_hash: str) -> Made | None:
    """The answer to a create that took already, whatever has become of what it named."""
    found = await find_tuning(session, job_id)
    if found is None:
        return None
    if found.tuning.request_hash != request_hash:
        message = "this Idempotency-Key was used before, for another request"
        raise ApiError(409, "idempotency_conflict", message, headers={"x-should-retry": "false"})
    return Made(found, True, {})


async def command_of(
    session: Session, values: dict[str, Any], faults: list[RequestFault], request_hash: str = ""
) -> CreateTuning:
    """The command that a request means, every reference resolved. Raises `ApiError` with every fault."""
    faults = list(faults)
    method = values.get("method", "supervised")
    names = [values.get(name) for name in ("model", "training_file", "validation_file")]
    earlier = await _earlier(session, names[0])
    base = earlier.model.id if earlier is not None else names[0]
    states = await session.service.known.states(name for name in (base, *names[1:]) if name is not None)
    model = await _model(session, base, states, faults)
    if earlier is not None and model is not None:
        _same_base(earlier, model, faults)
    training = _file(session, names[1], states, "training_file", method, faults)
    validation = _file(session, names[2], states, "validation_file", method, faults)
    resolved = resolve(
        values.get("hyperparameters") or {},
        rows=training.rows if training else None,
        context_length=model.context_length if model else None,
        method=method,
        validation=names[2] is not None,
        adapter=earlier.hyperparameters if earlier else None,
    )
    if not isinstance(resolved, Hyperparameters):
        faults += [RequestFault(fault.param, fault.message) for fault in resolved]
    if faults or model is None or training is None or not isinstance(resolved, Hyperparameters):
        raise invalid(faults)
    seed = values.get("seed")
    return CreateTuning(
        account_id=session.caller.account_id,
        model=ModelRef(model.id, model.revision),
        training_file=training,
        validation_file=validation,
        hyperparameters=resolved,
        method=method,
        suffix=values.get("suffix"),
        metadata=values.get("metadata") or {},
        seed=seed if seed is not None else secrets.randbelow(2**31),
        priority=values.get("priority", 0),
        memory=needed_memory(model.id, resolved, method, training),
        request_hash=request_hash,
        warm_start=_warm_start(earlier) if earlier else None,
        labels_hash=values.get("preview_hash"),
        export=values.get("export", "adapter"),
        example_losses=values.get("example_losses"),
    )


def needed_memory(model: str, hyperparameters: Hyperparameters, method: Method, training: FileRef) -> int:
    """The estimate in bytes; 0 for a model that this installation's catalogue does not have."""
    if (entry := CATALOGUE.get(model)) is None:
        return 0
    return estimate(entry, hyperparameters, method=method, longest_row=training.longest_row).total


async def _command_again(session: Session, tuning: Tuning, request_hash: str) -> CreateTuning:
    """The command that makes a tuning once more. Raises `ApiError` with all that it needs and is gone."""
    files = [
        (name, file)
        for name, file in (
            ("training_file", tuning.training_file),
            ("validation_file", tuning.validation_file),
        )
        if file is not None
    ]
    faults: list[RequestFault] = []
    state = await session.service.pool.fetchval(
        "SELECT state FROM models WHERE id = $1 AND NOT archived", tuning.model.id
    )
    found = msgspec.json.decode(state, type=BaseModel).revision if state else None
    if found != tuning.model.revision:
        there = f"it is at revision {found} now" if found else "it is to be had no more"
        told = f"{tuning.id} was tuned on {tuning.model.id} at revision {tuning.model.revision}, and {there}"
        faults.append(RequestFault("model", told, "model_revision_gone"))
    deleted = await session.service.pool.fetch(
        "SELECT id FROM files WHERE id = ANY($1::text[]) AND status = 'deleted'",
        [file.id for _, file in files],
    )
    gone = {row["id"] for row in deleted}
    for name, file in files:
        if file.id in gone or not await session.service.store.exists(file.key):
            told = f"the bytes of {file.id} are gone; upload the file again and create a tuning"
            faults.append(RequestFault(name, told, "file_gone"))
    if tuning.warm_start is not None:
        kept = [await session.service.store.exists(file.key) for file in tuning.warm_start.files]
        if not all(kept):
            told = f"the adapter of {tuning.warm_start.model} that it began with is gone"
            faults.append(RequestFault("model", told, "adapter_gone"))
    if faults:
        raise invalid(faults)
    same = {name: getattr(tuning, name) for name in CreateTuning.__struct_fields__}
    return CreateTuning(
        **same
        | {
            "memory": needed_memory(
                tuning.model.id, tuning.hyperparameters, tuning.method, tuning.training_file
            ),
            "request_hash": request_hash,
            "rerun_of": tuning.id,
        }
    )


async def _earlier(session: Session, model: str | None) -> Tuning | None:
    """The account's tuning that made this model, if one did."""
    if model is None or not model.startswith(TUNED_PREFIX):
        return None
    state = await session.service.pool.fetchval(EARLIER, model, session.caller.account_id)
    return msgspec.json.decode(state, type=Tuning) if state is not None else None


def _same_base(earlier: Tuning, model: BaseModel, faults: list[RequestFault]) -> None:
    if earlier.model.revision != model.revision:
        told = (
            f"{earlier.fine_tuned_model} was tuned on {model.id} at revision {earlier.model.revision}, "
            f"which is at {model.revision} now"
        )
        faults.append(RequestFault("model", f"{told}: tune the base model anew", "model_revision_gone"))


def _warm_start(earlier: Tuning) -> WarmStart:
    files = tuple(file for file in earlier.result_files if file.name.startswith("adapter/"))
    return WarmStart(earlier.fine_tuned_model or "", earlier.id, files)


async def _model(
    session: Session, id: str | None, states: Mapping[str, File | BaseModel], faults: list[RequestFault]
) -> BaseModel | None:
    if id is None:
        return None
    model = states.get(id)
    if not isinstance(model, BaseModel) or model.archived:
        known = await session.service.pool.fetch(
            "SELECT id FROM models WHERE NOT archived ORDER BY id LIMIT 20"
        )
        names = ", ".join(row["id"] for row in known) or "none yet"
        faults.append(
            RequestFault("model", f"there is no model {id!r}; base models are: {names}", "model_not_found")
        )
        return None
    return model


def _file(
    session: Session,
    id: str | None,
    states: Mapping[str, File | BaseModel],
    param: str,
    method: Method,
    faults: list[RequestFault],
) -> FileRef | None:
    if id is None:
        return None
    file = states.get(id)
    if not isinstance(file, File) or file.account_id != session.caller.account_id or file.status == "deleted":
        faults.append(RequestFault(param, f"Invalid {param}: file {id!r} not found", "file_not_found"))
    elif file.status == "uploaded":
        faults.append(
            RequestFault(param, f"file {id} is still being checked; try again shortly", "file_not_processed")
        )
    elif file.status == "error":
        first = file.first_fault
        where = f"line {first.line}: {first.message}" if first else "see its check"
        message = (
            f"file {id} has {file.fault_count} faults, the first on {where} (/v1/files/{id}/check has all)"
        )
        faults.append(RequestFault(param, message, "file_invalid"))
    elif file.purpose != "fine-tune" or not file.rows:
        faults.append(
            RequestFault(param, f"file {id} has no rows to train on (purpose {file.purpose})", "file_invalid")
        )
    elif not fits(file.format, method):
        taken = ", ".join(FORMATS[method])
        message = f"file {id} has rows of the format {file.format}; the method {method} trains on {taken}"
        faults.append(RequestFault(param, message, "file_format_mismatch"))
    else:
        return FileRef(file.id, file.sha256, file.key, file.bytes, file.rows, file.longest_row)
    return None
