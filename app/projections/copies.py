"""The read model as an audit wants it: every row, and how far each partition is, at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import msgspec

from app.log import topics
from app.log.audit import Copy, Kept
from app.log.port import Partition
from app.projections.fold import FOLDED, Folded, Row

PLACE = "the read model"
JSON_COLUMNS = ("metadata", "state")


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
    rows = await connection.fetch(f"SELECT * FROM {stream}")
    kept = {
        row["id"]: Kept(
            row["id"], row["version"], _comparable(row.keys(), row.values()), f"{PLACE}'s row {row['id']}"
        )
        for row in rows
    }
    ours = {one: offset for one, offset in checkpoints.items() if one.topic == topics.events(stream)}
    return Copy(PLACE, kept, ours, _shape(folded, list(rows[0].keys()) if rows else []))


def _shape(folded: Folded, names: list[str]) -> Callable[[str, int, Any], Any]:
    def shaped(id: str, version: int, state: Any) -> Any:
        return _comparable(names, folded.columns(Row(id, version, state)))

    return shaped


def _comparable(names: Any, values: Any) -> dict[str, Any]:
    """Columns by name, JSON decoded: PostgreSQL spaces and orders it in its own way."""
    return {
        name: msgspec.json.decode(value) if name in JSON_COLUMNS else value
        for name, value in zip(names, values, strict=True)
    }
