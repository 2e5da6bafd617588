"""The read model as a whole: made beside the serving one, caught up, and put in its place."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import structlog

from app.database import as_it_is
from app.domain.streams import STREAMS
from app.log.aggregates import event_schema, state_schema
from app.log.port import Log, Partition, ends_of
from app.projections.projector import QUERIES, PostgresModel, catch_up, project, projected_partitions
from app.projections.queries import sql

# Part of the fingerprint: raise it when the same events are to make other rows.
PROJECTION = 1
BUILD_LOCK = 0x7E5A
POOL_SIZE = 8
DROP_ATTEMPTS = 5

logger = structlog.get_logger("projector")


def fingerprint() -> str:
    """Tells a read model made by this version of the code from one made by another."""
    shapes = [schema(decider) for decider in STREAMS.values() for schema in (state_schema, event_schema)]
    return hashlib.sha256(f"{PROJECTION}\n{shapes}\n{sql('read_model')}".encode()).hexdigest()[:16]


@asynccontextmanager
async def pool_for(dsn: str, schema: str, size: int = POOL_SIZE) -> AsyncIterator[asyncpg.Pool]:
    """Connections whose unqualified names mean the read model in `schema`."""
    async with asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=60,
        server_settings={"search_path": schema},
        reset=as_it_is,
    ) as pool:
        yield pool


async def prepare(dsn: str) -> None:
    """Make the operational tables where they are missing."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", BUILD_LOCK)
            await connection.execute(sql("ops"))
    finally:
        await connection.close()


async def is_current(dsn: str) -> bool:
    """Whether the serving read model was made by this version of the code."""
    connection = await asyncpg.connect(dsn)
    try:
        if await connection.fetchval("SELECT to_regclass('read.meta')") is None:
            return False
        return bool(await connection.fetchval("SELECT fingerprint FROM read.meta") == fingerprint())
    finally:
        await connection.close()


async def rebuild(
    log: Log,
    dsn: str,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    only_if_stale: bool = False,
) -> int:
    """Build a new read model from the log while the old one serves, then put it in its place.

    `on_progress` hears how many of how many offsets are read. Returns the number of records applied. With
    `only_if_stale` nothing is done when another process has built a current one meanwhile.
    """
    control = await asyncpg.connect(dsn)
    try:
        await control.execute("SELECT pg_advisory_lock($1)", BUILD_LOCK)
        if only_if_stale and await is_current(dsn):
            return 0
        async with control.transaction():
            await control.execute("DROP SCHEMA IF EXISTS read_next, read_old CASCADE")
            await control.execute("CREATE SCHEMA read_next")
            await control.execute("SET LOCAL search_path TO read_next")
            await control.execute(sql("read_model"))
            await control.execute("INSERT INTO meta VALUES ($1)", fingerprint())
        async with pool_for(dsn, "read_next") as pool:
            applied = await _fill(log, pool, on_progress)
            await _take_over(log, control, pool)
        logger.info("read_model_built", records=applied, fingerprint=fingerprint())
        return applied
    finally:
        await control.close()


async def _fill(log: Log, pool: asyncpg.Pool, on_progress: Callable[[int, int], None]) -> int:
    partitions = await projected_partitions(log)
    ends = await ends_of(log, partitions)
    done, total = 0, sum(ends.values())

    def count(records: int) -> None:
        nonlocal done
        done += records
        on_progress(min(done, total), total)

    model = PostgresModel(pool, notify=False)
    await asyncio.gather(*(catch_up(log, model, partition, end, count) for partition, end in ends.items()))
    on_progress(total, total)
    return done


async def _take_over(log: Log, control: asyncpg.Connection, pool: asyncpg.Pool) -> None:
    """Rename the schemas while the old model's projectors are held still, never behind where they are."""
    async with control.transaction():
        serving = await control.fetchval("SELECT to_regclass('read.checkpoints')") is not None
        if serving:
            await control.execute(QUERIES["hold"])  # projectors of the old model wait here
            held = await control.fetch(QUERIES["held"])
            reached = {Partition(row["topic"], row["partition"]): row["next_offset"] for row in held}
            ends = await ends_of(log, list(reached))
            # A model made from another log may stand past this one's end.
            behind = [(partition, min(reached[partition], end)) for partition, end in ends.items()]
            model = PostgresModel(pool, notify=False)
            await asyncio.gather(
                *(catch_up(log, model, partition, end, lambda _: None) for partition, end in behind)
            )
            await control.execute("ALTER SCHEMA read RENAME TO read_old")
        await control.execute("ALTER SCHEMA read_next RENAME TO read")
        await control.execute("SELECT pg_notify('tunesmith_applied', '*')")
    await _drop_old(control)


async def _drop_old(control: asyncpg.Connection) -> None:
    """Apart from the takeover: dropping waits for queries under way, renaming for none."""
    for _ in range(DROP_ATTEMPTS):
        try:
            await control.execute("DROP SCHEMA IF EXISTS read_old CASCADE")
        except asyncpg.DeadlockDetectedError:
            continue
        return


async def _built(log: Log, dsn: str, stop: asyncio.Event) -> bool:
    """Build the model unless `stop` comes first; the next attempt throws away what was built till then."""
    building = asyncio.create_task(rebuild(log, dsn, only_if_stale=True))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([building, stopped], return_when=asyncio.FIRST_COMPLETED)
        if building.done():
            building.result()
        return building.done()
    finally:
        for task in (building, stopped):
            task.cancel()
        await asyncio.gather(building, stopped, return_exceptions=True)


async def serve(log: Log, dsn: str, stop: asyncio.Event) -> None:
    """The role: build the read model if there is none of this version, then keep it up with the log."""
    await prepare(dsn)
    if not await is_current(dsn) and not await _built(log, dsn, stop):
        return
    partitions = await projected_partitions(log)
    async with pool_for(dsn, "read") as pool, asyncio.TaskGroup() as tasks:
        for partition in partitions:
            tasks.create_task(project(log, PostgresModel(pool), partition, stop))
