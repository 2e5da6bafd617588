"""The audit of a log: whole as written by a real command handler, and each way in which it can be not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.domain.files import FILES, DeleteFile, RecordCheck, RegisterFile
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.streams import STREAMS
from app.domain.tunings import TUNINGS, CancelTuning, CreateTuning, FileRef, ModelRef, Started
from app.log import topics
from app.log.audit import Audit, audit
from app.log.codec import Command, event_record
from app.log.memory import MemoryLog
from app.log.port import Received, Record, read_all
from app.log.topics import declared
from tests.handling import handling, replies_to, send

resolved = resolve({}, rows=10, context_length=2048)
assert isinstance(resolved, Hyperparameters)
CREATE = CreateTuning(
    "acct-a", ModelRef("m", "r1"), FileRef("file-a", "aa", "files/a", 10, 10), None, resolved
)
REGISTER = RegisterFile("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a")

Change = Callable[[Received], Received | None]


def empty(partitions: int = 1) -> MemoryLog:
    return MemoryLog({topic.name: partitions for topic in declared("embedded")})


@pytest.fixture(params=[1, 3])
async def log(request: pytest.FixtureRequest) -> MemoryLog:
    """Files and a cancelled tuning, by a command handler; one command sent twice, one refused."""
    log = empty(request.param)
    async with handling(log, "files", "tunings"):
        await send(log, FILES, "file-a", REGISTER, RecordCheck("chat", 4, 0), DeleteFile())
        await send(log, FILES, "file-b", REGISTER, REGISTER, ids=["cmd-b", "cmd-b"])
        await send(log, FILES, "file-c", DeleteFile())
        await send(log, TUNINGS, "job-a", CREATE, CancelTuning())
        await replies_to(log, 8)
    return log


async def audited(log: MemoryLog) -> Audit:
    return await audit(log, STREAMS.values(), {})


async def changed(log: MemoryLog, topic: str, change: Change) -> MemoryLog:
    """A copy of a log, with every record of a topic as `change` has it."""
    counts = {one.name: await log.partition_count(one.name) for one in declared("embedded")}
    copy = MemoryLog(counts)
    writer = await copy.writer()
    for name in counts:
        async for one in read_all(log, name):
            kept = change(one) if name == topic else one
            if kept is not None:
                await writer.send(Record(name, kept.key, kept.value, kept.headers, kept.partition.number))
    return copy


def only(id: str, change: Change) -> Change:
    """Change nothing but one event, reply or state."""

    def changed(record: Received) -> Received | None:
        return change(record) if id in (record.header("ce_id"), record.key) else record

    return changed


def gone(_: Received) -> None:
    return None


def other(old: bytes, new: bytes) -> Change:
    def changed(record: Received) -> Received:
        assert old in (record.value or b"")
        return msgspec.structs.replace(record, value=(record.value or b"").replace(old, new))

    return changed


async def test_what_a_command_handler_wrote_is_whole(log: MemoryLog) -> None:
    assert await audited(log) == Audit(6, 3, 6, {})


@pytest.mark.parametrize(
    ("topic", "change", "kind", "names"),
    [
        (topics.events("files"), only("file-a:2", other(b"chat", b"chap")), "chain", "file-a:2"),
        (topics.events("files"), only("file-a:2", gone), "version", "file-a:3"),
        (topics.events("files"), only("file-a:3", gone), "cut off", "file-a"),
        (topics.events("files"), only("file-b:1", gone), "cut off", "file-b"),
        (topics.events("files"), only("file-a:2", other(b"{", b"[")), "event", "tunesmith.files.events.v1["),
        (topics.state("files"), only("file-a", other(b"train", b"trail")), "the state topic", "file-a:3"),
        (topics.state("files"), only("file-b", gone), "the state topic", "file-b at version 0"),
        (topics.state("files"), only("file-b", other(b"{", b"[")), "the state topic", "file-b at version 0"),
        (topics.REPLIES, only("cmd-job-a-1", gone), "reply", "cmd-job-a-1"),
        (topics.REPLIES, only("cmd-job-a-1", other(b"{", b"[")), "reply", "cmd-job-a-1"),
    ],
)
async def test_the_first_wrong_record_of_a_kind_is_named(
    log: MemoryLog, topic: str, change: Change, kind: str, names: str
) -> None:
    wrong = (await audited(await changed(log, topic, change))).wrong
    assert names in wrong[kind]


async def test_two_first_replies_to_a_command_are_found_out(log: MemoryLog) -> None:
    copy = await changed(log, topics.REPLIES, lambda record: record)
    [reply] = [one async for one in read_all(copy, topics.REPLIES) if one.key == "cmd-job-a-1"]
    await (await copy.writer()).send(Record(topics.REPLIES, reply.key, reply.value, reply.headers, 0))
    assert "has 2 replies" in (await audited(copy)).wrong["reply"]


async def test_an_event_after_the_end_is_found_out_although_its_chain_is_right(log: MemoryLog) -> None:
    last = [one async for one in read_all(log, topics.events("tunings"))][-1]
    command = Command("cmd-x", "job-a", "key:k", "r", last.at, None)
    record, _ = event_record(
        TUNINGS,
        command=command,
        version=3,
        at=last.at,
        chain=last.header("ce_chain") or "",
        body=Started(1),
        partition=last.partition.number,
    )
    await (await log.writer()).send(record)
    wrong = (await audited(log)).wrong
    assert "job-a:3" in wrong["terminal"]
    assert "chain" not in wrong


async def test_it_passes_while_writes_go_on() -> None:
    log, stop = empty(), asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            await send(log, FILES, f"file-{number}", REGISTER, RecordCheck("chat", 4, 0), DeleteFile())
            await asyncio.sleep(0.01)
        return number

    async with handling(log, "files"):
        writing: asyncio.Task[Any] = asyncio.create_task(write())
        found: list[Audit] = []
        async with asyncio.timeout(30):
            while len(found) < 5 or found[-1].events < 100:
                found.append(await audited(log))
                await asyncio.sleep(0.02)  # in memory nothing else makes it wait
        stop.set()
        await writing
    assert [one.wrong for one in found] == [{}] * len(found)
    assert found[-1].events > found[0].events
