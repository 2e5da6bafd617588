"""A sender outlives its writers."""

from __future__ import annotations

import asyncio

import pytest

from app.log import bounds, topics
from app.log.memory import MemoryLog, MemoryWriter
from app.log.port import Record, RecordTooLarge, Unavailable, read_all
from app.log.sender import Sender
from app.log.topics import declared


class Breaking(MemoryLog):
    """A log whose first writers break for good, as aiokafka's producer does after some errors."""

    def __init__(self, broken: int) -> None:
        super().__init__({topic.name: 1 for topic in declared("embedded")})
        self.broken, self.made = broken, 0

    async def writer(self) -> MemoryWriter:
        self.made += 1
        found = await super().writer()
        if self.made <= self.broken:

            async def refuse(record: Record) -> int:
                await asyncio.sleep(0.01)
                raise Unavailable(f"broken: {record.key}")

            found.send = refuse  # type: ignore[method-assign]
        return found


def record(key: str) -> Record:
    return Record(topics.commands("files"), key, b"{}")


async def test_after_an_error_the_next_record_gets_another_writer() -> None:
    log = Breaking(2)
    sender = Sender(log)
    await sender.start()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await sender.send(record("lost"))
    assert await sender.send(record("kept")) == 0
    assert await sender.send(record("kept-too")) == 1
    await sender.close()
    assert log.made == 3
    assert [one.key async for one in read_all(log, topics.commands("files"))] == ["kept", "kept-too"]


async def test_many_that_fail_together_cost_one_new_writer() -> None:
    log = Breaking(1)
    sender = Sender(log)
    failed = await asyncio.gather(*(sender.send(record(f"{n}")) for n in range(50)), return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in failed)
    await asyncio.gather(*(sender.send(record(f"{n}")) for n in range(50)))
    await sender.close()
    assert log.made == 2


async def test_a_record_too_large_says_nothing_against_the_writer() -> None:
    log = Breaking(0)
    sender = Sender(log)
    with pytest.raises(RecordTooLarge):
        await sender.send(Record(topics.commands("files"), "x", b"x" * (bounds.LARGEST_RECORD_BYTES + 1)))
    await sender.send(record("kept"))
    await sender.close()
    assert log.made == 1
