"""A stream's events given to a reactor, from where it stopped; what it was given twice it does once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import asyncpg
import structlog

from app.database import DATABASE_ERRORS
from app.domain.decider import Decider
from app.log import topics
from app.log.codec import Event, Undecodable, read_event
from app.log.port import Log, LogError, Partition, Reader, all_partitions, ends_of
from app.storage.store import StorageError

LARGEST_BATCH = 200
MOST_UNDER_WAY = 64
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
PASSING = (LogError, StorageError, *DATABASE_ERRORS)

logger = structlog.get_logger("reactor")

React = Callable[[Sequence[Event]], Awaitable[None]]
ReactToOne = Callable[[Event], Awaitable[None]]


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

    async def in_batches(place: Place) -> None:
        while not stop.is_set():
            events, unreadable = await place.next(LARGEST_BATCH)
            if events:
                await react([event for _, event in events])
                await place.done_up_to(place.position)
            if unreadable is not None:
                await _stopped(reactor, unreadable, stop)

    await _partitions(log, pool, reactor, decider, in_batches, stop, from_end=from_end)


async def follow_each(
    log: Log, pool: asyncpg.Pool, reactor: str, decider: Decider, react: ReactToOne, stop: asyncio.Event
) -> None:
    """The same one by one, many at a time: none waits for an earlier one that takes long.

    The cursor stays before the first that is not done, so after an error later ones may be done again.
    """

    async def each(place: Place) -> None:
        under_way: dict[int, asyncio.Future[None]] = {}
        try:
            while not stop.is_set():
                unreadable: Undecodable | None = None
                if room := MOST_UNDER_WAY - len(under_way):
                    events, unreadable = await place.next(room)
                    for offset, event in events:
                        under_way[offset] = asyncio.ensure_future(react(event))
                else:
                    await asyncio.wait(
                        under_way.values(), timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                if unreadable is not None:
                    await asyncio.gather(*under_way.values())
                for offset, task in list(under_way.items()):
                    if task.done():
                        task.result()
                        del under_way[offset]
                await place.done_up_to(min(under_way, default=place.position))
                if unreadable is not None:
                    await _stopped(reactor, unreadable, stop)
        finally:
            for task in under_way.values():
                task.cancel()
            await asyncio.gather(*under_way.values(), return_exceptions=True)

    await _partitions(log, pool, reactor, decider, each, stop)


async def _partitions(
    log: Log,
    pool: asyncpg.Pool,
    reactor: str,
    decider: Decider,
    follow_one: Callable[[Place], Awaitable[None]],
    stop: asyncio.Event,
    *,
    from_end: bool = False,
) -> None:
    """Follow every partition of a stream until `stop`, anew after an error that passes."""

    async def followed(partition: Partition) -> None:
        position = await pool.fetchval(POSITION, reactor, *partition) or 0
        reader = await log.reader({partition: position})
        try:
            await follow_one(Place(pool, reactor, decider, partition, reader, position))
        finally:
            await reader.close()

    while not stop.is_set():
        try:
            partitions = await all_partitions(log, topics.events(decider.stream))
            if from_end:
                for partition, end in (await ends_of(log, partitions)).items():
                    await pool.execute(BEGIN, reactor, *partition, end)
            async with asyncio.TaskGroup() as tasks:
                for partition in partitions:
                    tasks.create_task(followed(partition))
        except* PASSING as errors:
            await interrupted(reactor, errors.exceptions[0], stop)


class Place:
    """Where a reactor is in a partition: `position` is the offset of the next event to read."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        reactor: str,
        decider: Decider,
        partition: Partition,
        reader: Reader,
        position: int,
    ) -> None:
        self._pool, self._reactor, self._decider = pool, reactor, decider
        self._partition, self._reader = partition, reader
        self.position = self._kept = position

    async def next(self, limit: int) -> tuple[list[tuple[int, Event]], Undecodable | None]:
        """The next events with their offsets, and why the one behind them cannot be read, if it cannot."""
        events: list[tuple[int, Event]] = []
        for record in await self._reader.fetch(limit, POLL_SECONDS):
            try:
                events.append((record.offset, read_event(self._decider, record)))
            except Undecodable as error:
                return events, error
            self.position = record.offset + 1
        return events, None

    async def done_up_to(self, position: int) -> None:
        """Keep the cursor: everything before `position` is done."""
        if position > self._kept:
            await self._pool.execute(ADVANCE, self._reactor, *self._partition, position)
            self._kept = position


async def _stopped(reactor: str, unreadable: Undecodable, stop: asyncio.Event) -> None:
    logger.critical("reactor_stopped", reactor=reactor, error=str(unreadable))
    await stop.wait()


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
