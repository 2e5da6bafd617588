"""The four streams, folded by the very `evolve` that the command handler uses, into one table each."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from app.domain.accounts import ACCOUNTS, Account
from app.domain.decider import Decider
from app.domain.files import FILES, File
from app.domain.models import MODELS, BaseModel
from app.domain.tunings import TUNINGS, Tuning
from app.log.codec import Event, read_event
from app.log.port import Received
from app.projections.queries import named

logger = structlog.get_logger("projector")

Connection = Any


class Gap(Exception):
    """An event whose predecessor was never seen."""


class Row(Struct, frozen=True):
    """An aggregate after `version` events."""

    id: str
    version: int
    state: Any


class Folded(Struct, frozen=True):
    """A stream's decider and how its aggregates become rows."""

    decider: Decider
    columns: Callable[[Row], tuple[Any, ...]]
    beside: Callable[[Connection, Sequence[Row]], Coroutine[Any, Any, None]] | None = None


async def apply_events(connection: Connection, folded: Folded, records: Iterable[Received]) -> list[str]:
    """Fold events into their table; what was applied, as `<id>:<version>`.

    Raises `Gap` or `Undecodable`; repeats are dropped.
    """
    events = [read_event(folded.decider, record) for record in records]
    queries = QUERIES[folded.decider.stream]
    touched = sorted({event.aggregate_id for event in events})
    rows = {
        row["id"]: Row(
            row["id"], row["version"], msgspec.json.decode(row["state"], type=folded.decider.state)
        )
        for row in await connection.fetch(queries["known"], touched)
    }
    changed: dict[str, Row] = {}
    for event in events:
        if (after := _evolved(folded.decider, rows.get(event.aggregate_id), event)) is not None:
            rows[event.aggregate_id] = changed[event.aggregate_id] = after
    if changed:
        columns = zip(*[folded.columns(row) for row in changed.values()], strict=True)
        await connection.execute(queries["upsert"], *[list(column) for column in columns])
        if folded.beside is not None:
            await folded.beside(connection, list(changed.values()))
    return [f"{row.id}:{row.version}" for row in changed.values()]


def _evolved(decider: Decider, row: Row | None, event: Event) -> Row | None:
    version = row.version if row else 0
    if event.version <= version:
        return None
    if event.version != version + 1:
        raise Gap(f"{event.id} follows version {version} of {event.aggregate_id}")
    state = decider.evolve(row.state if row else None, event.body, event.recorded)
    return Row(event.aggregate_id, event.version, state)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _tuning(row: Row) -> tuple[Any, ...]:
    tuning: Tuning = row.state
    return (
        row.id,
        row.version,
        tuning.account_id,
        tuning.status,
        tuning.model.id,
        tuning.created_at,
        tuning.started_at,
        tuning.finished_at,
        _json(tuning.metadata),
        _json(tuning),
    )


async def _beside_tunings(connection: Connection, rows: Sequence[Row]) -> None:
    """A tuning's result files and its model become visible together with its end."""
    queries = QUERIES["tunings"]
    ended: list[Tuning] = [row.state for row in rows if row.state.ended]
    if not ended:
        return
    results = [
        (
            file.id,
            tuning.id,
            tuning.account_id,
            file.name,
            file.bytes,
            file.sha256,
            file.key,
            tuning.finished_at,
        )
        for tuning in ended
        for file in tuning.result_files
    ]
    if results:
        await connection.execute(queries["add_result_files"], *[list(c) for c in zip(*results, strict=True)])
    tuned = [
        (tuning.fine_tuned_model, tuning.account_id, tuning.id, tuning.model.id, tuning.finished_at)
        for tuning in ended
        if tuning.fine_tuned_model
    ]
    if tuned:
        await connection.execute(queries["add_tuned_models"], *[list(c) for c in zip(*tuned, strict=True)])
    await connection.execute(queries["leave_queue"], [tuning.id for tuning in ended])


def _file(row: Row) -> tuple[Any, ...]:
    file: File = row.state
    return row.id, row.version, file.account_id, file.purpose, file.status, file.created_at, _json(file)


def _model(row: Row) -> tuple[Any, ...]:
    model: BaseModel = row.state
    return row.id, row.version, model.created_at, model.archived, _json(model)


def _account(row: Row) -> tuple[Any, ...]:
    account: Account = row.state
    return row.id, row.version, account.suspended, account.created_at, _json(account)


async def _beside_accounts(connection: Connection, rows: Sequence[Row]) -> None:
    keys = [
        (
            key.id,
            key.sha256,
            row.id,
            key.name,
            list(key.scopes),
            key.created_at,
            key.expires_at,
            key.revoked_at,
        )
        for row in rows
        for key in row.state.keys
    ]
    await connection.executemany(QUERIES["accounts"]["upsert_key"], keys)


QUERIES = {stream: named(stream) for stream in ("tunings", "files", "models", "accounts")}

FOLDED: dict[str, Folded] = {
    "tunings": Folded(TUNINGS, _tuning, _beside_tunings),
    "files": Folded(FILES, _file),
    "models": Folded(MODELS, _model),
    "accounts": Folded(ACCOUNTS, _account, _beside_accounts),
}
