"""What happened to a tuning, and what it was at any version or time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, get
from litestar.params import FromPath
from msgspec.structs import asdict

from app.api.errors import ApiError, Fault, invalid, missing
from app.api.requests import is_count, page_of
from app.api.session import Session, opened
from app.api.views import failure_view, page, seconds, tuning_view
from app.domain.decider import Recorded, fold
from app.domain.tunings import (
    TUNINGS,
    AttemptLost,
    Cancelled,
    CheckpointSaved,
    Created,
    Dispatched,
    EpochCompleted,
    Failed,
    Paused,
    PauseRequested,
    Resumed,
    Started,
    Succeeded,
)
from app.log.history import moment

OF_CREATED = ("hyperparameters", "method", "suffix", "metadata", "seed", "priority")

Told = tuple[str, str, dict[str, Any]]


@get("/v1/tunings.events/{id:str}", operation_id="listTuningEvents")
async def events(request: Request[Any, Any, Any], id: FromPath[str]) -> dict[str, Any]:
    """What happened to a tuning, oldest first; `limit` and `after`, an event's id, narrow it."""
    session = await opened(request, "read")
    wanted = page_of(request.query_params)
    await _version(session, id)
    after = 0
    if wanted.after is not None:
        tuning_id, _, version = wanted.after.rpartition(":")
        if tuning_id != id or not is_count(version):
            raise invalid([Fault("after", f"after must be the id of an event of {id}, as `{id}:1`")])
        after = min(int(version), 2**31 - 1)
    rows = await session.service.pool.fetch(
        "SELECT version, type, at, body FROM tuning_events WHERE tuning_id = $1 AND version > $2 "
        "ORDER BY version LIMIT $3",
        id,
        after,
        wanted.limit + 1,
    )
    return page([event_view(id, row["version"], row["at"], _event(row)) for row in rows], wanted.limit)


def asked_of_the_past(query: Mapping[str, Any]) -> bool:
    """Whether a request means an earlier state."""
    return "as_of" in query or "as_of_version" in query


async def as_it_was(session: Session, id: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """The tuning at `as_of_version` or `as_of`. Raises `ApiError` 400 or 404."""
    version, at, faults = _moment(query)
    if faults:
        raise invalid(faults)
    newest = await _version(session, id)
    if version is not None and version > newest:
        message = f"tuning {id} is at version {newest}; there is no version {version} yet"
        raise invalid([Fault("as_of_version", message)])
    rows = await session.service.pool.fetch(
        "SELECT version, type, at, body FROM tuning_events WHERE tuning_id = $1 "
        "AND ($2::int IS NULL OR version <= $2) AND ($3::timestamptz IS NULL OR at <= $3) ORDER BY version",
        id,
        version,
        at,
    )
    if not rows:
        raise ApiError(404, "not_found", f"tuning {id} did not exist at that time", "as_of")
    tuning = fold(TUNINGS, ((_event(row), Recorded(id, row["version"], row["at"])) for row in rows))
    # What happened inside a status is told while it happens, and not kept.
    return tuning_view(tuning, rows[-1]["version"]) | {"phase": None}


def _moment(query: Mapping[str, Any]) -> tuple[int | None, datetime | None, list[Fault]]:
    version, at = query.get("as_of_version"), query.get("as_of")
    if version is not None and at is not None:
        return None, None, [Fault("as_of", "give as_of or as_of_version, not both")]
    if version is not None:
        if not is_count(version) or not 1 <= int(version) < 2**31:
            message = "as_of_version must be a whole number from 1"
            return None, None, [Fault("as_of_version", message)]
        return int(version), None, []
    try:
        return None, moment(at or ""), []
    except ValueError as error:
        return None, None, [Fault("as_of", f"as_of: {error}")]


async def _version(session: Session, id: str) -> int:
    """The tuning's version now. Raises `ApiError` 404."""
    version = await session.service.pool.fetchval(
        "SELECT version FROM tunings WHERE id = $1 AND account_id = $2", id, session.caller.account_id
    )
    if version is None:
        raise missing("tuning", id)
    return int(version)


def _event(row: Any) -> Any:
    return msgspec.json.decode(row["body"], type=TUNINGS.events[row["type"]])


def event_view(id: str, version: int, at: datetime, event: Any) -> dict[str, Any]:
    """The event object."""
    level, message, data = _told(event)
    attempt = getattr(event, "attempt", None)
    return {
        "id": f"{id}:{version}",
        "object": "tuning.event",
        "type": TUNINGS.wire_type(event).split(".")[2],
        "version": version,
        "attempt": getattr(attempt, "number", attempt),
        "created_at": seconds(at),
        "message": message,
        "level": level,
        "data": data,
    }


def _told(event: Any) -> Told:
    """Level, sentence and data of an event."""
    match event:
        case Created():
            data = {name: getattr(event, name) for name in OF_CREATED} | {
                "model": event.model.id,
                "training_file": event.training_file.id,
                "validation_file": event.validation_file.id if event.validation_file else None,
            }
            return "info", "the tuning was created", data
        case Dispatched(attempt=attempt):
            return (
                "info",
                f"attempt {attempt.number} was given to worker {attempt.worker}",
                {"worker": attempt.worker, "slot": attempt.slot},
            )
        case Started():
            return "info", "training has started", {}
        case EpochCompleted(result=result):
            evaluated = "" if result.eval_loss is None else f", evaluation loss {result.eval_loss:.4f}"
            told = f"epoch {result.epoch} is complete: training loss {result.train_loss:.4f}{evaluated}"
            return "info", told, asdict(result)
        case CheckpointSaved(checkpoint=checkpoint):
            data = {name: getattr(checkpoint, name) for name in ("step", "epoch", "batch", "bytes", "sha256")}
            return "info", f"a checkpoint was saved after step {checkpoint.step}", data
        case AttemptLost(attempt=number, reason=reason):
            return "warn", f"attempt {number} was lost ({reason})", {"reason": reason}
        case PauseRequested():
            return "info", "a pause was asked for", {}
        case Paused():
            return "info", "the tuning is paused; its devices are free", {}
        case Resumed():
            return "info", "the tuning goes on", {}
        case Succeeded():
            data = {
                "fine_tuned_model": event.fine_tuned_model,
                "train_loss": event.train_loss,
                "eval_loss": event.eval_loss,
                "trained_tokens": event.trained_tokens,
                "result_files": [file.id for file in event.result_files],
            }
            return "info", f"the adapter is ready: {event.fine_tuned_model}", data
        case Failed(failure=failure):
            return "error", failure.message, {"error": failure_view(failure)}
        case Cancelled():
            return "info", "the tuning was cancelled", {}
    raise TypeError(f"not an event of tunings: {event!r}")


ROUTES = [events]
