"""A deleted file's bytes are freed once no tuning that could still read them is left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import msgspec
import structlog

from app.domain.files import FILES, Deleted, File
from app.domain.tunings import TUNINGS
from app.log.codec import Event
from app.log.port import Log
from app.reactors.following import PASSING, follow, interrupted, paused, tables_made
from app.reactors.lag import caught_up
from app.storage.keys import found_keys
from app.storage.store import Store

REACTOR = "free_files"
# A create that was under way when the file was deleted is to be seen by then.
GRACE_SECONDS = 600.0
SWEEP_SECONDS = 30.0
AT_A_TIME = 100

REMEMBER = "INSERT INTO ops.deleted_files (id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
FREE_NOW = """
SELECT d.id, f.state FROM ops.deleted_files d JOIN read.files f ON f.id = d.id AND f.status = 'deleted'
WHERE d.seen_at <= clock_timestamp() - make_interval(secs => $1) AND NOT EXISTS (
    SELECT FROM read.tunings t WHERE t.status IN ('pending', 'running', 'paused')
    AND d.id IN (t.state -> 'training_file' ->> 'id', t.state -> 'validation_file' ->> 'id')
)
ORDER BY d.seen_at LIMIT $2
"""
FREED = "DELETE FROM ops.deleted_files WHERE id = $1"

logger = structlog.get_logger("reactor")


async def serve(
    log: Log, pool: asyncpg.Pool, store: Store, stop: asyncio.Event, *, grace: float = GRACE_SECONDS
) -> None:
    """Free files until `stop`. Two that free the same one free it once."""

    async def remember(events: Sequence[Event]) -> None:
        deleted = [event.aggregate_id for event in events if isinstance(event.body, Deleted)]
        await pool.execute(REMEMBER, deleted)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follow(log, pool, REACTOR, FILES, remember, stop))
        tasks.create_task(_sweep(log, pool, store, stop, grace))


async def _sweep(log: Log, pool: asyncpg.Pool, store: Store, stop: asyncio.Event, grace: float) -> None:
    await tables_made(pool, REACTOR, ["read.files", "read.tunings"], stop)
    while not stop.is_set():
        try:
            # A tuning that the read model does not show yet may want the bytes.
            if await pool.fetch(FREE_NOW, grace, 1) and await caught_up(log, pool, TUNINGS.stream):
                while await _free(pool, store, grace) == AT_A_TIME:
                    pass
        except PASSING as error:
            await interrupted(REACTOR, error, stop)
        await paused(min(SWEEP_SECONDS, grace), stop)


async def _free(pool: asyncpg.Pool, store: Store, grace: float) -> int:
    """Free some files; how many."""
    rows = await pool.fetch(FREE_NOW, grace, AT_A_TIME)
    for row in rows:
        file = msgspec.json.decode(row["state"], type=File)
        for key in (file.key, *found_keys(file.id)):
            await store.delete(key)
        await pool.execute(FREED, file.id)
        logger.info("file_freed", file_id=file.id, bytes=file.bytes)
    return len(rows)
