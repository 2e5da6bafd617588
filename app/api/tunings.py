"""The tunings: create, get, list, cancel and metrics."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath

from app.api.decisions import decided, idempotency_key
from app.api.errors import ApiError, Fault, invalid, missing
from app.api.history import as_it_was, asked_of_the_past
from app.api.limits import take_create
from app.api.requests import TuningRequest, is_count, json_object, page_of, read_fields
from app.api.service import Service
from app.api.session import Session, opened
from app.api.views import page, step_of, tuning_view
from app.catalogue.catalogue import CATALOGUE
from app.catalogue.memory import estimate
from app.domain.files import File
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.ids import derive_id
from app.domain.models import BaseModel
from app.domain.tunings import (
    TUNINGS,
    CancelTuning,
    CreateTuning,
    FileRef,
    ModelRef,
    PauseTuning,
    ResumeTuning,
    Tuning,
)

STATUSES = ("pending", "running", "paused", "succeeded", "failed", "cancelled")
NAMED = """
SELECT
    (SELECT state FROM models WHERE id = $1 AND NOT archived) AS model,
    (SELECT state FROM files WHERE id = $2 AND account_id = $4) AS training_file,
    (SELECT state FROM files WHERE id = $3 AND account_id = $4) AS validation_file
"""
SHOWN = """
SELECT t.id, t.version, t.state, p.attempt, p.phase, p.last_step, q.position, q.estimated_start
FROM tunings t
LEFT JOIN tuning_progress p ON p.tuning_id = t.id
LEFT JOIN queue q ON q.tuning_id = t.id
"""

logger = structlog.get_logger("api")


@post("/v1/tunings.create", operation_id="createTuning")
async def create(request: Request[Any, Any, Any]) -> Response[Any]:
    """Create a tuning: 201 with it, or 202 when it is accepted and not to be seen yet."""
    session = await opened(request, "write")
    body, body_hash = await json_object(request)
    key = idempotency_key(request)
    job_id = derive_id("job", session.caller.account_id, key) if key else derive_id("job", uuid4().hex)
    if key is not None and (repeated := await _repeated(session, job_id, body_hash)) is not None:
        return repeated
    command, faults = await _command(session, body, body_hash)
    if faults:
        raise invalid(faults)
    assert command is not None
    headers = await take_create(
        session.service.pool, session.caller.account_id, session.service.settings.creates_per_minute
    )
    reply, seen = await decided(session, TUNINGS, job_id, command, certain=key is not None)
    tuning = msgspec.json.decode(reply.state, type=Tuning)
    logger.info("job_created", job_id=job_id, user_id=session.caller.account_id, model=tuning.model.id)
    headers["location"] = f"/v1/tunings.get/{job_id}"
    return Response(tuning_view(tuning, reply.version), status_code=201 if seen else 202, headers=headers)


async def _repeated(session: Session, job_id: str, body_hash: str) -> Response[Any] | None:
    """The answer to a create that took already, whatever has become of what it named."""
    row = await session.service.pool.fetchrow(f"{SHOWN} WHERE t.id = $1", job_id)
    if row is None:
        return None
    if msgspec.json.decode(row["state"], type=Tuning).request_hash != body_hash:
        message = "this Idempotency-Key was used before, for another request"
        raise ApiError(409, "idempotency_conflict", message, headers={"x-should-retry": "false"})
    return Response(_view(row), status_code=201, headers={"location": f"/v1/tunings.get/{job_id}"})


async def _command(
    session: Session, body: dict[str, Any], body_hash: str
) -> tuple[CreateTuning | None, list[Fault]]:
    """The command that a request means, every reference resolved; or all that is wrong with it."""
    values, faults = read_fields(TuningRequest, body)
    names = [values.get(name) for name in ("model", "training_file", "validation_file")]
    [named] = await session.service.pool.fetch(NAMED, *names, session.caller.account_id)
    model = await _model(session, names[0], named["model"], faults)
    training = _file(names[1], named["training_file"], "training_file", faults)
    validation = _file(names[2], named["validation_file"], "validation_file", faults)
    resolved = resolve(
        values.get("hyperparameters") or {},
        rows=training.rows if training else 1,
        context_length=model.context_length if model else 2**20,
    )
    if not isinstance(resolved, Hyperparameters):
        faults += [Fault(fault.param, fault.message) for fault in resolved]
    if faults or model is None or training is None or not isinstance(resolved, Hyperparameters):
        return None, faults
    seed = values.get("seed")
    return (
        CreateTuning(
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
            request_hash=body_hash,
        ),
        [],
    )


async def _model(
    session: Session, id: str | None, state: str | None, faults: list[Fault]
) -> BaseModel | None:
    if id is None:
        return None
    if state is None:
        known = await session.service.pool.fetch(
            "SELECT id FROM models WHERE NOT archived ORDER BY id LIMIT 20"
        )
        names = ", ".join(row["id"] for row in known) or "none yet"
        faults.append(Fault("model", f"there is no base model {id!r}; there are: {names}", "model_not_found"))
        return None
    return msgspec.json.decode(state, type=BaseModel)


def _file(id: str | None, state: str | None, param: str, faults: list[Fault]) -> FileRef | None:
    if id is None:
        return None
    file = msgspec.json.decode(state, type=File) if state else None
    if file is None or file.status == "deleted":
        faults.append(Fault(param, f"Invalid {param}: file {id!r} not found", "file_not_found"))
    elif file.status == "uploaded":
        faults.append(
            Fault(param, f"file {id} is still being checked; try again shortly", "file_not_processed")
        )
    elif file.status == "error":
        first = file.first_fault
        where = f"line {first.line}: {first.message}" if first else "see its check"
        message = (
            f"file {id} has {file.fault_count} faults, the first on {where} (/v1/files/{id}/check has all)"
        )
        faults.append(Fault(param, message, "file_invalid"))
    elif file.purpose != "fine-tune" or not file.rows:
        faults.append(
            Fault(param, f"file {id} has no rows to train on (purpose {file.purpose})", "file_invalid")
        )
    else:
        return FileRef(file.id, file.sha256, file.key, file.bytes, file.rows)
    return None


@get("/v1/tunings.get/{id:str}", operation_id="getTuning")
async def retrieve(request: Request[Any, Any, Any], id: FromPath[str]) -> dict[str, Any]:
    """One tuning as it is, or as it was at `as_of_version` or `as_of`, Unix seconds or RFC 3339."""
    session = await opened(request, "read")
    if asked_of_the_past(request.query_params):
        return await as_it_was(session, id, request.query_params)
    return _view(await tuning_row(session.service, session.caller.account_id, id))


async def tuning_row(service: Service, account_id: str, id: str) -> Any:
    """A tuning's row with its progress and place in the queue. Raises `ApiError` 404."""
    row = await service.pool.fetchrow(f"{SHOWN} WHERE t.id = $1 AND t.account_id = $2", id, account_id)
    if row is None:
        raise missing("tuning", id)
    return row


def _view(row: Any) -> dict[str, Any]:
    return tuning_view(
        msgspec.json.decode(row["state"], type=Tuning),
        row["version"],
        phase=row["phase"],
        phase_attempt=row["attempt"],
        last_step=step_of(row["last_step"]),
        position=row["position"],
        estimated_start=row["estimated_start"],
    )


@get("/v1/tunings.list", operation_id="listTunings")
async def list_tunings(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The account's tunings, newest first; `limit`, `after`, `status` and `metadata[k]` narrow them."""
    session = await opened(request, "read")
    wanted = page_of(request.query_params)
    status = request.query_params.get("status")
    if status is not None and status not in STATUSES:
        raise invalid([Fault("status", f"status must be one of {', '.join(STATUSES)}")])
    metadata = {
        name[len("metadata[") : -1]: value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    conditions, arguments = ["t.account_id = $1"], [session.caller.account_id]
    if status is not None:
        arguments.append(status)
        conditions.append(f"t.status = ${len(arguments)}")
    if metadata:
        arguments.append(msgspec.json.encode(metadata).decode())
        conditions.append(f"t.metadata @> ${len(arguments)}::jsonb")
    if wanted.after is not None:
        last = await session.service.pool.fetchval(
            "SELECT created_at FROM tunings WHERE id = $1 AND account_id = $2",
            wanted.after,
            session.caller.account_id,
        )
        if last is None:
            raise invalid([Fault("after", f"there is no tuning {wanted.after!r} to go on behind")])
        arguments += [last, wanted.after]
        conditions.append(f"(t.created_at, t.id) < (${len(arguments) - 1}, ${len(arguments)})")
    rows = await session.service.pool.fetch(
        f"{SHOWN} WHERE {' AND '.join(conditions)} "
        f"ORDER BY t.created_at DESC, t.id DESC LIMIT {wanted.limit + 1}",
        *arguments,
    )
    return page([_view(row) for row in rows], wanted.limit)


@delete("/v1/tunings.cancel/{id:str}", status_code=200, operation_id="cancelTuning")
async def cancel(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[Any]:
    """End a tuning at once; one that is cancelled already stays so."""
    return await _changed(request, id, CancelTuning())


@post("/v1/tunings.pause/{id:str}", status_code=200, operation_id="pauseTuning")
async def pause(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[Any]:
    """Bring a running tuning to rest at a checkpoint and free its devices; one that rests stays so."""
    return await _changed(request, id, PauseTuning())


@post("/v1/tunings.resume/{id:str}", status_code=200, operation_id="resumeTuning")
async def resume(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[Any]:
    """Let a paused tuning go on from its last checkpoint."""
    return await _changed(request, id, ResumeTuning())


async def _changed(
    request: Request[Any, Any, Any], id: str, command: CancelTuning | PauseTuning | ResumeTuning
) -> Response[Any]:
    session = await opened(request, "write")
    await tuning_row(session.service, session.caller.account_id, id)
    reply, seen = await decided(session, TUNINGS, id, command, certain=True)
    tuning = msgspec.json.decode(reply.state, type=Tuning)
    return Response(tuning_view(tuning, reply.version), status_code=200 if seen else 202)


@get("/v1/tunings.metrics/{id:str}", operation_id="getTuningMetrics")
async def metrics(request: Request[Any, Any, Any], id: FromPath[str]) -> dict[str, Any]:
    """The loss curve: steps behind `after_step`, in order."""
    session = await opened(request, "read")
    row = await tuning_row(session.service, session.caller.account_id, id)
    after = request.query_params.get("after_step", "0")
    if not is_count(after):
        raise invalid([Fault("after_step", "after_step must be a whole number")])
    wanted = page_of({"limit": request.query_params.get("limit", "1000")}, largest=10_000)
    rows = await session.service.pool.fetch(
        "SELECT metric, at FROM tuning_steps WHERE tuning_id = $1 AND step > $2 ORDER BY step LIMIT $3",
        id,
        min(int(after), 2**31 - 1),
        wanted.limit + 1,
    )
    epochs = msgspec.json.decode(row["state"], type=Tuning).epochs
    points = [
        msgspec.json.decode(point["metric"]) | {"created_at": int(point["at"].timestamp())} for point in rows
    ]
    return page(points, wanted.limit) | {"epochs": epochs}


ROUTES = [create, retrieve, list_tunings, cancel, pause, resume, metrics]
