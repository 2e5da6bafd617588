"""A command handler run beside a test, and what the test sends to it; on any log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from app.command_handler.serve import serve
from app.domain.decider import Decider
from app.log import topics
from app.log.codec import Event, Reply, command_record, read_event
from app.log.port import Log, Start, all_partitions, read_all


@asynccontextmanager
async def handling(log: Log, *streams: str) -> AsyncIterator[None]:
    """A command handler, drained at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(serve(log, stop, streams or ("files",)))
    try:
        yield
    finally:
        stop.set()
        await task


async def send(
    log: Log, decider: Decider, aggregate_id: str, *bodies: Any, ids: list[str] | None = None
) -> None:
    """Send commands, in order."""
    writer = await log.writer()
    for number, body in enumerate(bodies):
        id = ids[number] if ids else f"cmd-{aggregate_id}-{number}"
        record = command_record(
            decider,
            id=id,
            aggregate_id=aggregate_id,
            actor="key:k",
            correlation_id="r",
            source="api",
            body=body,
        )
        await writer.send(record)
    await writer.close()


async def replies_to(log: Log, count: int) -> list[Reply]:
    """The first so many replies, from the beginning of the log."""
    reader = await log.reader(dict.fromkeys(await all_partitions(log, topics.REPLIES), Start.FIRST))
    found: list[Reply] = []
    try:
        async with asyncio.timeout(60):
            while len(found) < count:
                found += [
                    msgspec.json.decode(one.value or b"", type=Reply) for one in await reader.fetch(500, 0.5)
                ]
    finally:
        await reader.close()
    return found


async def events_of(log: Log, decider: Decider) -> list[Event]:
    """Every event of a stream."""
    return [read_event(decider, one) async for one in read_all(log, topics.events(decider.stream))]
