"""One partition, projected: rows and the next offset in one PostgreSQL transaction, by compare-and-set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

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
PASSING = (LogError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

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


async def project(
    log: Log, pool: asyncpg.Pool, partition: Partition, stop: asyncio.Event, *, notify: bool = True
) -> None:
    """Apply a partition's records as they come, until `stop`.

    A record that cannot be applied stops this partition, and an alarm is logged: it is never skipped.
    """
    while not stop.is_set():
        try:
            await _follow(log, pool, partition, stop, notify)
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


async def _follow(
    log: Log, pool: asyncpg.Pool, partition: Partition, stop: asyncio.Event, notify: bool
) -> None:
    expected = await position(pool, partition)
    reader = await log.reader({partition: expected})
    try:
        while not stop.is_set():
            if records := await reader.fetch(LARGEST_BATCH, POLL_SECONDS):
                expected = await apply_batch(pool, partition, expected, records, notify=notify)
    finally:
        await reader.close()


async def catch_up(
    log: Log, pool: asyncpg.Pool, partition: Partition, end: int, on_applied: Callable[[int], None]
) -> None:
    """Apply a partition's records up to the offset `end`; `on_applied` hears of each batch's size."""
    expected = await position(pool, partition)
    reader = await log.reader({partition: expected}, follows=False)
    try:
        while await reader.position(partition) < end:
            if records := await reader.fetch(LARGEST_BATCH, POLL_SECONDS):
                expected = await apply_batch(pool, partition, expected, records, notify=False)
                on_applied(len(records))
    finally:
        await reader.close()


async def position(pool: asyncpg.Pool, partition: Partition) -> int:
    """Offset of the partition's next record to apply."""
    found = await pool.fetchval(QUERIES["next_offset"], *partition)
    if found is None:
        await pool.execute(QUERIES["begin"], *partition)
        return 0
    return int(found)


async def apply_batch(
    pool: asyncpg.Pool, partition: Partition, expected: int, records: Sequence[Received], *, notify: bool
) -> int:
    """Rows, checkpoint and one NOTIFY in one transaction; the new checkpoint. Raises `TakenElsewhere`."""
    moved = records[-1].offset + 1
    async with pool.acquire() as connection, connection.transaction():
        # The checkpoint first: a model that takes over holds it, and whoever waits for it holds nothing else.
        if await connection.execute(QUERIES["advance"], *partition, expected, moved) != "UPDATE 1":
            raise TakenElsewhere(f"{partition.topic}[{partition.number}]")
        applied = await applier(partition.topic)(connection, records)
        if notify and applied:
            payload = " ".join(applied)
            payload = payload if len(payload) <= LONGEST_PAYLOAD else "*"
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
    return moved
