"""A stream's events given to a reactor, from where it stopped; what it was given twice it does once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import asyncpg
import structlog

from app.domain.decider import Decider
from app.log import topics
from app.log.codec import Event, Undecodable, read_event
from app.log.port import Log, LogError, Partition, all_partitions, ends_of
from app.storage.store import StorageError

LARGEST_BATCH = 200
POLL_SECONDS = 0.5
PAUSE_AFTER_ERROR = 1.0

POSITION = "SELECT next_offset FROM ops.cursors WHERE reactor = $1 AND topic = $2 AND partition = $3"
BEGIN = "INSERT INTO ops.cursors VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
ADVANCE = """
INSERT INTO ops.cursors VALUES ($1, $2, $3, $4)
ON CONFLICT (reactor, topic, partition) DO UPDATE
SET next_offset = greatest(ops.cursors.next_offset, excluded.next_offset)
"""
MADE = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name"
PASSING = (LogError, StorageError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

logger = structlog.get_logger("reactor")

React = Callable[[Sequence[Event]], Awaitable[None]]


async def follow(
    log: Log,
    pool: asyncpg.Pool,
    reactor: str,
    decider: Decider,
    react: React,
    stop: asyncio.Event,
    *,
    from_end: bool = False,
) -> None:
    """Give `react` every event of a stream until `stop`; after an error those that are not done again.

    Without a cursor it begins at the first event, or `from_end` with the next one.
    An event that this version cannot read stops its partition, and an alarm is logged: it is never skipped.
    """
    while not stop.is_set():
        try:
            partitions = await all_partitions(log, topics.events(decider.stream))
            if from_end:
                for partition, end in (await ends_of(log, partitions)).items():
                    await pool.execute(BEGIN, reactor, *partition, end)
            async with asyncio.TaskGroup() as tasks:
                for partition in partitions:
                    tasks.create_task(_follow(log, pool, reactor, decider, partition, react, stop))
        except* PASSING as errors:
            await interrupted(reactor, errors.exceptions[0], stop)


async def tables_made(pool: asyncpg.Pool, reactor: str, tables: Sequence[str], stop: asyncio.Event) -> bool:
    """Wait, without a word, until the projector has made these tables; False when `stop` came before."""
    while not stop.is_set():
        try:
            if await pool.fetchval(MADE, tables):
                return True
        except PASSING as error:
            await interrupted(reactor, error, stop)
        await paused(POLL_SECONDS, stop)
    return False


async def interrupted(reactor: str, error: BaseException, stop: asyncio.Event) -> None:
    """Say so, and wait a little."""
    logger.warning("reactor_interrupted", reactor=reactor, error=repr(error))
    await paused(PAUSE_AFTER_ERROR, stop)


async def paused(seconds: float, stop: asyncio.Event) -> None:
    """Wait so long, or until `stop`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _follow(
    log: Log,
    pool: asyncpg.Pool,
    reactor: str,
    decider: Decider,
    partition: Partition,
    react: React,
    stop: asyncio.Event,
) -> None:
    position = await pool.fetchval(POSITION, reactor, *partition) or 0
    reader = await log.reader({partition: position})
    try:
        while not stop.is_set():
            events: list[Event] = []
            unreadable: Undecodable | None = None
            for record in await reader.fetch(LARGEST_BATCH, POLL_SECONDS):
                try:
                    events.append(read_event(decider, record))
                except Undecodable as error:
                    unreadable = error
                    break
                position = record.offset + 1
            if events:
                await react(events)
                await pool.execute(ADVANCE, reactor, *partition, position)
            if unreadable is not None:
                logger.critical("reactor_stopped", reactor=reactor, error=str(unreadable))
                await stop.wait()
    finally:
        await reader.close()
