"""One partition, projected: rows and the next offset in one PostgreSQL transaction, by compare-and-set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import asyncpg
import structlog

from app.database import DATABASE_ERRORS
from app.log import topics
from app.log.codec import Undecodable
from app.log.port import Log, LogError, Partition, Received, all_partitions
from app.projections.fold import FOLDED, Gap, apply_events
from app.projections.metrics import apply_metrics, apply_queue
from app.projections.queries import named

CHANNEL = "tunesmith_applied"
LONGEST_PAYLOAD = 7_900
LARGEST_BATCH = 2_000
POLL_SECONDS = 0.5
PAUSE_AFTER_ERROR = 1.0

QUERIES = named("checkpoints")

logger = structlog.get_logger("projector")

UNAPPLIABLE = (Undecodable, Gap, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
PASSING = (LogError, *DATABASE_ERRORS)

Apply = Callable[[Any, Sequence[Received]], Awaitable[list[str]]]


class TakenElsewhere(Exception):
    """Another projector has moved this partition's checkpoint."""


def applier(topic: str) -> Apply:
    """What applies a topic's records to the read model."""
    if topic == topics.METRICS:
        return apply_metrics
    if topic == topics.QUEUE:
        return apply_queue
    folded = next(folded for stream, folded in FOLDED.items() if topics.events(stream) == topic)
    return lambda connection, records: apply_events(connection, folded, records)


async def projected_partitions(log: Log) -> list[Partition]:
    """Every partition that the read model is made of."""
    names = [*(topics.events(stream) for stream in FOLDED), topics.METRICS, topics.QUEUE]
    return [partition for name in names for partition in await all_partitions(log, name)]


class ReadModel(Protocol):
    """What events are applied to, batch by batch, each partition from its own checkpoint."""

    async def position(self, partition: Partition) -> int:
        """Offset of the partition's next record to apply."""
        ...

    async def apply(self, partition: Partition, expected: int, records: Sequence[Received]) -> int:
        """Apply records and move the checkpoint at once; the new one. Raises `TakenElsewhere`."""
        ...


async def project(log: Log, model: ReadModel, partition: Partition, stop: asyncio.Event) -> None:
    """Apply a partition's records as they come, until `stop`.

    A record that cannot be applied stops this partition, and an alarm is logged: it is never skipped.
    """
    while not stop.is_set():
        try:
            await _follow(log, model, partition, stop)
        except TakenElsewhere as error:
            logger.info("projection_taken_elsewhere", partition=str(error))
        except UNAPPLIABLE as error:
            logger.critical(
                "projection_stopped", topic=partition.topic, partition=partition.number, error=str(error)
            )
            await stop.wait()
        except PASSING as error:
            logger.warning("projection_interrupted", topic=partition.topic, error=repr(error))
        except Exception:
            logger.critical(
                "projection_stopped", topic=partition.topic, partition=partition.number, exc_info=True
            )
            await stop.wait()
        if not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_AFTER_ERROR):
                    await stop.wait()


async def _follow(log: Log, model: ReadModel, partition: Partition, stop: asyncio.Event) -> None:
    expected = await model.position(partition)
    reader = await log.reader({partition: expected})
    try:
        while not stop.is_set():
            if records := await reader.fetch(LARGEST_BATCH, POLL_SECONDS):
                expected = await model.apply(partition, expected, records)
    finally:
        await reader.close()


async def catch_up(
    log: Log, model: ReadModel, partition: Partition, end: int, on_applied: Callable[[int], None]
) -> None:
    """Apply a partition's records up to the offset `end`; `on_applied` hears of each batch's size."""
    expected = await model.position(partition)
    reader = await log.reader({partition: expected}, follows=False)
    try:
        while await reader.position(partition) < end:
            if records := await reader.fetch(LARGEST_BATCH, POLL_SECONDS):
                expected = await model.apply(partition, expected, records)
                on_applied(len(records))
    finally:
        await reader.close()


class PostgresModel:
    """The read model in PostgreSQL, in the schema that the pool's connections have as their search path."""

    def __init__(self, pool: asyncpg.Pool, *, notify: bool = True) -> None:
        self._pool, self._notify = pool, notify

    async def position(self, partition: Partition) -> int:
        """Offset of the partition's next record to apply."""
        found = await self._pool.fetchval(QUERIES["next_offset"], *partition)
        if found is None:
            await self._pool.execute(QUERIES["begin"], *partition)
            return 0
        return int(found)

    async def apply(self, partition: Partition, expected: int, records: Sequence[Received]) -> int:
        """Rows, checkpoint and one NOTIFY in one transaction; the new checkpoint. Raises `TakenElsewhere`."""
        moved = records[-1].offset + 1
        async with self._pool.acquire() as connection, connection.transaction():
            # The checkpoint first: a model that takes over holds it; who waits for it holds nothing else.
            if await connection.execute(QUERIES["advance"], *partition, expected, moved) != "UPDATE 1":
                raise TakenElsewhere(f"{partition.topic}[{partition.number}]")
            applied = await applier(partition.topic)(connection, records)
            if self._notify and applied:
                payload = " ".join(applied)
                payload = payload if len(payload) <= LONGEST_PAYLOAD else "*"
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
        return moved
