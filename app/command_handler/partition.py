"""One command partition and its single writer, by the steps of "Deciding" in the architecture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog
from msgspec import Struct, json

from app.command_handler.batch import Batch, decide_batch
from app.command_handler.folding import fold_anew
from app.domain.decider import Decider
from app.log import bounds, topics
from app.log.aggregates import CURSOR_KEY, OWNER_KEY, Cursor, of_this_schema
from app.log.codec import encode
from app.log.port import Log, Partition, Reader, Received, Record, Start, TransactionalWriter

logger = structlog.get_logger("command_handler")


class Recovered(Struct, frozen=True):
    """What the state topic holds: every aggregate, encoded, and the next command's offset."""

    states: dict[str, bytes]
    next_offset: int


def _told_nobody(_: int) -> None:
    pass


async def serve_partition(
    log: Log,
    decider: Decider,
    index: int,
    stop: asyncio.Event,
    decided_up_to: Callable[[int], None] = _told_nobody,
) -> None:
    """Write this partition until `stop` or an error; after an error nothing of this call may be used again.

    `decided_up_to` hears the next command's offset after each commit.
    Raises `Fenced` when another writer took over, any other `LogError` when the outcome is not known.
    """
    writer = await log.transactional_writer(f"tunesmith-{decider.stream}-{index}")  # fences the predecessor
    try:
        recovered = await recover(log, writer, decider, index)
        commands = Partition(topics.commands(decider.stream), index)
        reader = await log.reader({commands: recovered.next_offset})
        try:
            decided_up_to(recovered.next_offset)
            await _decide_all(log, decider, writer, reader, recovered.states, stop, decided_up_to)
        finally:
            await reader.close()
    finally:
        await writer.close()


async def recover(log: Log, writer: TransactionalWriter, decider: Decider, index: int) -> Recovered:
    """Write a barrier, then read the state topic until past it: nothing older can come behind.

    States of another schema than this version's are folded anew from the events.
    """
    there = Partition(topics.state(decider.stream), index)
    owner = Record(there.topic, OWNER_KEY, encode({"owner": uuid4().hex}), partition=index)
    [barrier] = await writer.commit([owner])
    reader = await log.reader({there: Start.FIRST})
    states: dict[str, bytes] = {}
    old: set[str] = set()
    next_offset = 0
    try:
        passed = False
        while not passed:
            for record in await reader.fetch(5_000, bounds.POLL_SECONDS):
                passed = passed or record.offset >= barrier
                if record.key == CURSOR_KEY and record.value is not None:
                    next_offset = json.decode(record.value, type=Cursor).next_offset
                elif record.key is not None and not record.key.startswith("!"):
                    if record.value is None:
                        states.pop(record.key, None)
                    else:
                        states[record.key] = record.value
                        (old.discard if of_this_schema(decider, record) else old.add)(record.key)
    finally:
        await reader.close()
    if old := old & states.keys():
        states |= await fold_anew(log, writer, decider, index, {id: states[id] for id in old})
    logger.info(
        "partition_taken",
        stream=decider.stream,
        partition=index,
        aggregates=len(states),
        next_offset=next_offset,
    )
    return Recovered(states, next_offset)


async def _decide_all(
    log: Log,
    decider: Decider,
    writer: TransactionalWriter,
    reader: Reader,
    states: dict[str, bytes],
    stop: asyncio.Event,
    decided_up_to: Callable[[int], None],
) -> None:
    replies = await log.partition_count(topics.REPLIES)
    stopped = asyncio.create_task(stop.wait())
    committing: asyncio.Task[None] | None = None
    try:
        # More commands gather while a batch is committed.
        while commands := await _next(reader, stopped):
            while commands:
                batch = await decide_batch(decider, states, commands, replies)
                states.update(batch.states)
                if committing is not None:
                    await committing
                committing = asyncio.create_task(_commit(writer, batch, decided_up_to))
                # Behind a full batch is a backlog: the next one is decided while this one is committed, on
                # states that are lost with everything else should that commit fail.
                backlog = len(commands) == bounds.LARGEST_BATCH and not stopped.done()
                commands = await reader.fetch(bounds.LARGEST_BATCH, 0) if backlog else []
            assert committing is not None
            await committing
    finally:
        stopped.cancel()
        if committing is not None:
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)


async def _commit(writer: TransactionalWriter, batch: Batch, decided_up_to: Callable[[int], None]) -> None:
    await writer.commit(batch.records)
    decided_up_to(batch.next_offset)


async def _next(reader: Reader, stopped: asyncio.Task[Any]) -> list[Received]:
    """The next commands; none once it is to stop, and then at once: a successor waits for the partition."""
    while not stopped.done():
        fetching = asyncio.create_task(reader.fetch(bounds.LARGEST_BATCH, bounds.POLL_SECONDS))
        try:
            await asyncio.wait([fetching, stopped], return_when=asyncio.FIRST_COMPLETED)
            if fetching.done() and (commands := fetching.result()):
                return commands
        finally:
            if not fetching.done():
                fetching.cancel()
                await asyncio.gather(fetching, return_exceptions=True)
    return []
