"""Keep a table of your own in step with the tunings: every event takes effect exactly once.

    pip install "tunesmith[kafka]" asyncpg
    python -m examples.external_table.sync BROKER POSTGRESQL_DSN

The table `tuning_overview` and the place in the log, in `event_positions`, change in one transaction. However
often this is killed, and wherever, it goes on where the table stands.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg
from tunesmith.kafka import (
    Event,
    EventStream,
    TuningCreated,
    TuningEpochCompleted,
    TuningFailed,
    TuningSucceeded,
)

STREAM = "tunings"
TABLES = """
CREATE TABLE IF NOT EXISTS tuning_overview (
    id text PRIMARY KEY,
    version integer NOT NULL,
    status text NOT NULL,
    base_model text NOT NULL,
    epochs integer NOT NULL DEFAULT 0,
    result text,
    updated_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS event_positions (
    stream text PRIMARY KEY,
    position text NOT NULL
);
"""
# What each event makes of the status; the others leave it.
STATUS = {
    "started": "running",
    "paused": "paused",
    "resumed": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
CHANGE = """
UPDATE tuning_overview SET version = $2, status = coalesce($3, status), epochs = epochs + $4,
    result = coalesce($5, result), updated_at = $6
WHERE id = $1
"""
REMEMBER = """
INSERT INTO event_positions (stream, position) VALUES ($1, $2)
ON CONFLICT (stream) DO UPDATE SET position = excluded.position
"""


async def apply(connection: Any, event: Event) -> None:
    """Change the row of one tuning."""
    data = event.data
    if isinstance(data, TuningCreated):
        await connection.execute(
            "INSERT INTO tuning_overview (id, version, status, base_model, updated_at) "
            "VALUES ($1, $2, 'pending', $3, $4)",
            event.aggregate_id,
            event.version,
            data.model.id,
            event.time,
        )
        return
    result = None
    if isinstance(data, TuningSucceeded):
        result = data.fine_tuned_model
    elif isinstance(data, TuningFailed):
        result = data.failure.message
    epochs = 1 if isinstance(data, TuningEpochCompleted) else 0
    await connection.execute(
        CHANGE, event.aggregate_id, event.version, STATUS.get(event.type), epochs, result, event.time
    )


async def keep_in_step(broker: str, dsn: str) -> None:
    """Follow the events for ever."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(TABLES)
        position = await connection.fetchval("SELECT position FROM event_positions WHERE stream = $1", STREAM)
        rows = await connection.fetch("SELECT id, version FROM tuning_overview")
        versions = {row["id"]: row["version"] for row in rows}
        async with EventStream(
            broker, STREAM, position=position, last_version=versions.get, unknown=True
        ) as events:
            async for event in events:
                async with connection.transaction():
                    await apply(connection, event)
                    await connection.execute(REMEMBER, STREAM, event.position)
                print(f"{event.id} {event.type}", flush=True)
    finally:
        await connection.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m examples.external_table.sync BROKER POSTGRESQL_DSN")
    asyncio.run(keep_in_step(sys.argv[1], sys.argv[2]))
