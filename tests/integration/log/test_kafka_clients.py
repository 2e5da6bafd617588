"""A client that cannot be started or stopped in time leaves no connection and no task behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest

from app.log import bounds
from app.log.kafka import KafkaLog
from app.log.port import OutcomeUnknown, Partition, Start, Unavailable
from tests.faults.kafka_proxy import (
    FETCH,
    INIT_PRODUCER_ID,
    JOIN_GROUP,
    LEAVE_GROUP,
    METADATA,
    PRODUCE,
    KafkaProxy,
    proxied,
)
from tests.log_contract import EVENTS, record

GONE_WITHIN = 2.0


class Client(Protocol):
    async def close(self) -> None: ...


async def reader(log: KafkaLog) -> Client:
    return await log.reader({Partition(EVENTS, 0): Start.FIRST})


async def member(log: KafkaLog) -> Client:
    joined = await log.join("test-left", [EVENTS])
    await joined.changed()
    return joined


async def transactional(log: KafkaLog) -> Client:
    return await log.transactional_writer("test-left")


async def uncommitted(log: KafkaLog) -> Client:
    writer = await log.transactional_writer("test-left")
    with pytest.raises(OutcomeUnknown):
        await writer.commit([record(EVENTS, "a", "1", 0)])
    return writer


async def unsent(log: KafkaLog) -> Client:
    writer = await log.writer()
    with pytest.raises(Unavailable):
        await writer.send(record(EVENTS, "a", "1", 0))
    return writer


@pytest.fixture
async def proxy(topics: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KafkaProxy]:
    monkeypatch.setattr(bounds, "CLOSE_WITHIN", 0.3)
    monkeypatch.setattr(bounds, "COMMIT_WITHIN", 0.5)
    monkeypatch.setattr(bounds, "ANSWER_WITHIN", 2.0)
    async with proxied(topics, monkeypatch) as proxy:
        yield proxy


async def nothing_left(proxy: KafkaProxy, tasks: set[asyncio.Task[object]]) -> None:
    """No client's connection is open, and no task runs but these."""
    async with asyncio.timeout(GONE_WITHIN):
        while proxy.open or asyncio.all_tasks() - tasks:
            await asyncio.sleep(0.02)
    gc.collect()  # what was left open complains when it is collected


@pytest.mark.parametrize(
    ("opened", "deaf_to"), [(reader, FETCH), (member, LEAVE_GROUP), (uncommitted, PRODUCE), (unsent, PRODUCE)]
)
async def test_what_does_not_stop_in_time_is_dropped(
    topics: str, proxy: KafkaProxy, opened: Callable[[KafkaLog], Awaitable[Client]], deaf_to: int
) -> None:
    tasks = asyncio.all_tasks()
    proxy.deaf_to = frozenset({deaf_to})
    client = await opened(KafkaLog(topics))
    if deaf_to != LEAVE_GROUP:
        await until_unheard(proxy)
    await client.close()
    assert proxy.unheard
    await nothing_left(proxy, tasks)


@pytest.mark.parametrize(
    ("opened", "deaf_to"),
    [
        (reader, METADATA),
        (member, METADATA),
        (member, JOIN_GROUP),
        (transactional, METADATA),
        (transactional, INIT_PRODUCER_ID),
    ],
)
async def test_a_start_that_is_cancelled_is_undone(
    topics: str, proxy: KafkaProxy, opened: Callable[[KafkaLog], Awaitable[Client]], deaf_to: int
) -> None:
    tasks = asyncio.all_tasks()
    proxy.deaf_to = frozenset({deaf_to})
    opening = asyncio.ensure_future(opened(KafkaLog(topics)))
    await until_unheard(proxy)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await nothing_left(proxy, tasks)


async def until_unheard(proxy: KafkaProxy) -> None:
    async with asyncio.timeout(GONE_WITHIN):
        while not proxy.unheard:
            await asyncio.sleep(0.01)
