"""The four streams, folded by the very `evolve` that the command handler uses, into one table each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


class Beside(Struct, frozen=True):
    """A further table that an aggregate's state makes rows of; the column `owner` holds its id.

    With `forgets`, rows that the state makes no more go; the first column is their id.
    """

    table: str
    owner: str
    rows: Callable[[Row], list[tuple[Any, ...]]]
    forgets: bool = False


class Folded(Struct, frozen=True):
    """A stream's decider, how its aggregates become rows, and the table that its events themselves go to."""

    decider: Decider
    columns: Callable[[Row], tuple[Any, ...]]
    beside: tuple[Beside, ...] = ()
    history: str | None = None


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
    applied: list[Event] = []
    for event in events:
        if (after := evolved(folded.decider, rows.get(event.aggregate_id), event)) is not None:
            rows[event.aggregate_id] = changed[event.aggregate_id] = after
            applied.append(event)
    if changed:
        columns = zip(*[folded.columns(row) for row in changed.values()], strict=True)
        await connection.execute(queries["upsert"], *[list(column) for column in columns])
        for beside in folded.beside:
            rows_beside = [one for row in changed.values() for one in beside.rows(row)]
            if beside.forgets:
                kept = [one[0] for one in rows_beside]
                await connection.execute(queries[f"forget_{beside.table}"], list(changed), kept)
            if rows_beside:
                await connection.executemany(queries[f"put_{beside.table}"], rows_beside)
        if folded.history is not None:
            history = [event_row(folded.decider, event) for event in applied]
            await connection.copy_records_to_table(folded.history, records=history)
    return [f"{row.id}:{row.version}" for row in changed.values()]


def evolved(decider: Decider, row: Row | None, event: Event) -> Row | None:
    """The row after an event; None for a repeat. Raises `Gap`."""
    version = row.version if row else 0
    if event.version <= version:
        return None
    if event.version != version + 1:
        raise Gap(f"{event.id} follows version {version} of {event.aggregate_id}")
    state = decider.evolve(row.state if row else None, event.body, event.recorded)
    return Row(event.aggregate_id, event.version, state)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def event_row(decider: Decider, event: Event) -> tuple[Any, ...]:
    """An event as the read model keeps it: in the form that this version of the code gives it."""
    kind = decider.wire_type(event.body)
    return event.aggregate_id, event.version, kind, event.at, event.actor, _json(event.body)


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


def _result_files(row: Row) -> list[tuple[Any, ...]]:
    tuning: Tuning = row.state
    return [
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
        for file in tuning.result_files
    ]


def _tuned_models(row: Row) -> list[tuple[Any, ...]]:
    tuning: Tuning = row.state
    if tuning.fine_tuned_model is None:
        return []
    return [(tuning.fine_tuned_model, tuning.account_id, tuning.id, tuning.model.id, tuning.finished_at)]


def _file(row: Row) -> tuple[Any, ...]:
    file: File = row.state
    return (
        row.id,
        row.version,
        file.account_id,
        file.purpose,
        file.status,
        file.bytes,
        file.created_at,
        _json(file),
    )


def _model(row: Row) -> tuple[Any, ...]:
    model: BaseModel = row.state
    return row.id, row.version, model.created_at, model.archived, _json(model)


def _account(row: Row) -> tuple[Any, ...]:
    account: Account = row.state
    return (
        row.id,
        row.version,
        account.name,
        account.suspended,
        _json(account.limits),
        account.created_at,
        _json(account),
    )


def _api_keys(row: Row) -> list[tuple[Any, ...]]:
    account: Account = row.state
    return [
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
        for key in account.keys
    ]


def _webhooks(row: Row) -> list[tuple[Any, ...]]:
    account: Account = row.state
    return [
        (
            webhook.id,
            row.id,
            webhook.url,
            list(webhook.types),
            webhook.description,
            webhook.enabled,
            webhook.disabled_reason,
            webhook.generation,
            webhook.previous_until,
            webhook.created_at,
        )
        for webhook in account.webhooks
    ]


QUERIES = {stream: named(stream) for stream in ("tunings", "files", "models", "accounts")}

FOLDED: dict[str, Folded] = {
    "tunings": Folded(
        TUNINGS,
        _tuning,
        (
            Beside("result_files", "tuning_id", _result_files),
            Beside("tuned_models", "tuning_id", _tuned_models),
        ),
        history="tuning_events",
    ),
    "files": Folded(FILES, _file),
    "models": Folded(MODELS, _model),
    "accounts": Folded(
        ACCOUNTS,
        _account,
        (
            Beside("api_keys", "account_id", _api_keys, forgets=True),
            Beside("webhooks", "account_id", _webhooks, forgets=True),
        ),
    ),
}
