"""`log`: the real broker with fresh topics of one partition each. `true`: the oracle, run at a test's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from app.log.kafka import KafkaLog
from app.log.port import Log
from app.projections import read_model
from tests.faults.load import Load, loading
from tests.faults.oracle import log_is_true, read_model_is_true
from tests.handling import handling


@pytest_asyncio.fixture
async def log(topics: str) -> KafkaLog:
    return KafkaLog(topics)


@pytest_asyncio.fixture
async def load(log: KafkaLog) -> AsyncIterator[Load]:
    async with loading(log) as found:
        yield found


@asynccontextmanager
async def projecting(log: Log, dsn: str) -> AsyncIterator[None]:
    """A projector with a read model to serve, until the context ends."""
    stop = asyncio.Event()
    serving = asyncio.create_task(read_model.serve(log, dsn, stop))
    try:
        async with asyncio.timeout(30):
            while not serving.done() and not await read_model.is_current(dsn):
                await asyncio.sleep(0.02)
        yield
    finally:
        stop.set()
        await serving


Oracle = Callable[[], Awaitable[None]]


@pytest.fixture
def true(log: KafkaLog, load: Load, database: str) -> Oracle:
    """With a handler and a projector that nothing ails, all that was acknowledged comes true, once."""

    async def hold() -> None:
        async with handling(log, "tunings"), projecting(log, database):
            await log_is_true(log, load)
            await read_model_is_true(log, database)

    return hold
