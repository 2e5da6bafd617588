"""A tuning created, whichever face of the api asks for it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from msgspec import Struct

from app.api.decisions import decided
from app.api.errors import ApiError, invalid
from app.api.limits import take_create
from app.api.reading import Found, find_tuning
from app.api.schemas.errors import RequestFault
from app.api.schemas.tunings import NOTHING_TOLD
from app.api.session import Session
from app.catalogue.catalogue import CATALOGUE
from app.catalogue.memory import estimate
from app.domain.files import File
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.ids import derive_id
from app.domain.models import BaseModel
from app.domain.tunings import TUNINGS, CreateTuning, FileRef, ModelRef, Tuning

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
    account_id = session.caller.account_id
    job_id = derive_id("job", account_id, key) if key else derive_id("job", uuid4().hex)
    if key is not None and (repeated := await _repeated(session, job_id, request_hash)) is not None:
        return repeated
    command = await _command(session, values, faults, request_hash)
    headers = await take_create(session.service.pool, account_id, session.service.settings.creates_per_minute)
    reply, seen = await decided(session, TUNINGS, job_id, command, certain=key is not None)
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


async def _command(
    session: Session, values: dict[str, Any], faults: list[RequestFault], request_hash: str
) -> CreateTuning:
    """The command that a request means, every reference resolved. Raises `ApiError` with every fault."""
    faults = list(faults)
    names = [values.get(name) for name in ("model", "training_file", "validation_file")]
    states = await session.service.known.states(name for name in names if name is not None)
    model = await _model(session, names[0], states, faults)
    training = _file(session, names[1], states, "training_file", faults)
    validation = _file(session, names[2], states, "validation_file", faults)
    resolved = resolve(
        values.get("hyperparameters") or {},
        rows=training.rows if training else 1,
        context_length=model.context_length if model else 2**20,
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
        suffix=values.get("suffix"),
        metadata=values.get("metadata") or {},
        seed=seed if seed is not None else secrets.randbelow(2**31),
        priority=values.get("priority", 0),
        memory=estimate(CATALOGUE[model.id], resolved).total if model.id in CATALOGUE else 0,
        request_hash=request_hash,
    )


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
            RequestFault("model", f"there is no base model {id!r}; there are: {names}", "model_not_found")
        )
        return None
    return model


def _file(
    session: Session,
    id: str | None,
    states: Mapping[str, File | BaseModel],
    param: str,
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
    else:
        return FileRef(file.id, file.sha256, file.key, file.bytes, file.rows)
    return None
