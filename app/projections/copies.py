"""The read model as an audit wants it: every row, and how far each partition is, at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import msgspec

from app.log import topics
from app.log.audit import Copy, Kept, history_digest
from app.log.port import Partition
from app.projections.fold import FOLDED, Beside, Folded, Row

PLACE = "the read model"
JSON_COLUMNS = ("metadata", "limits", "state")
AT_A_TIME = 5_000


async def read_model_copies(dsn: str) -> dict[str, list[Copy]]:
    """The read model's copy of each stream, by stream. Raises asyncpg's errors."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "read"})
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            checkpoints = {
                Partition(row["topic"], row["partition"]): row["next_offset"]
                for row in await connection.fetch("SELECT topic, partition, next_offset FROM checkpoints")
            }
            return {
                stream: [await _copy(connection, stream, folded, checkpoints)]
                for stream, folded in FOLDED.items()
            }
    finally:
        await connection.close()


async def _copy(
    connection: asyncpg.Connection, stream: str, folded: Folded, checkpoints: Mapping[Partition, int]
) -> Copy:
    rows = {row["id"]: row for row in await connection.fetch(f"SELECT * FROM {stream}")}
    beside = [await _beside(connection, table) for table in folded.beside]
    histories = await _histories(connection, folded.history) if folded.history else {}
    kept: dict[str, Kept] = {}
    # Rows beside an aggregate that is not there belong to nothing that the events make.
    for id in rows.keys() | histories.keys() | {id for found in beside for id in found}:
        row = rows.get(id)
        state = _whole(row and _comparable(row.keys(), row.values()), [found.get(id, ()) for found in beside])
        history = histories.get(id, "") if folded.history else None
        kept[id] = Kept(id, row["version"] if row else 0, state, f"{PLACE}'s row {id}", history=history)
    ours = {one: offset for one, offset in checkpoints.items() if one.topic == topics.events(stream)}
    names = list(next(iter(rows.values())).keys()) if rows else []
    return Copy(PLACE, kept, ours, _shape(folded, names))


async def _beside(connection: asyncpg.Connection, beside: Beside) -> dict[str, list[tuple[Any, ...]]]:
    """A further table's rows by the aggregate that they belong to."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in await connection.fetch(f"SELECT * FROM {beside.table}"):
        found.setdefault(row[beside.owner], []).append(tuple(row.values()))
    return found


async def _histories(connection: asyncpg.Connection, table: str) -> dict[str, str]:
    """The digest of each aggregate's events."""
    found: dict[str, str] = {}
    query = f"SELECT tuning_id, version, type, at, actor, body FROM {table} ORDER BY tuning_id, version"
    async for row in connection.cursor(query, prefetch=AT_A_TIME):
        id, version, type, at, actor, body = row.values()
        found[id] = history_digest(found.get(id, ""), version, type, at, actor, body.encode())
    return found


def _shape(folded: Folded, names: list[str]) -> Callable[[str, int, Any], Any]:
    def shaped(id: str, version: int, state: Any) -> Any:
        row = Row(id, version, state)
        return _whole(_comparable(names, folded.columns(row)), [beside.rows(row) for beside in folded.beside])

    return shaped


def _whole(row: Any, beside: Any) -> Any:
    """An aggregate's row and those beside it, in an order of their own."""
    return row, [sorted(rows, key=lambda one: str(one[0])) for rows in beside]


def _comparable(names: Any, values: Any) -> dict[str, Any]:
    """Columns by name, JSON decoded: PostgreSQL spaces and orders it in its own way."""
    return {
        name: msgspec.json.decode(value) if name in JSON_COLUMNS else value
        for name, value in zip(names, values, strict=True)
    }
