"""What the command handler keeps on any log. Run against memory and against Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from app.command_handler.folding import NotFolded
from app.command_handler.partition import recover, serve_partition
from app.domain.decider import Decider, Recorded
from app.domain.files import FILES, DeleteFile, File, RecordCheck, RegisterFile, evolve
from app.log import bounds, topics
from app.log.aggregates import Aggregate, of_this_schema, read_aggregate, state_record
from app.log.audit import audit
from app.log.codec import encode
from app.log.port import Fenced, Log, OutcomeUnknown, Partition, Reader, Record, Start, read_all
from tests.handling import events_of, handling, replies_to, send

REGISTER = RegisterFile("acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a", "hash")
CHECK = RecordCheck("chat", 4, 0)


class HandlerContract:
    """Subclasses bring a fixture `log` with three partitions a topic."""

    async def test_commands_become_events_in_order_and_each_gets_one_reply(self, log: Log) -> None:
        async with handling(log):
            for n in range(6):
                await send(log, FILES, f"file-{n}", REGISTER, CHECK, DeleteFile())
            replies = await replies_to(log, 18)
        assert all(reply.accepted for reply in replies)
        by_file: dict[str, list[int]] = {}
        for event in await events_of(log, FILES):
            by_file.setdefault(event.aggregate_id, []).append(event.version)
        assert by_file == {f"file-{n}": [1, 2, 3] for n in range(6)}

    async def test_a_successor_goes_on_where_the_first_left_off(self, log: Log) -> None:
        async with handling(log):
            await send(log, FILES, "file-a", REGISTER)
            await replies_to(log, 1)
        await send(log, FILES, "file-a", CHECK, ids=["cmd-2"])
        await send(log, FILES, "file-a", REGISTER, ids=["cmd-file-a-0"])  # decided by the first
        async with handling(log):
            replies = await replies_to(log, 3)
        assert [(reply.version, reply.repeated) for reply in replies] == [(1, False), (2, False), (1, True)]
        assert [event.version for event in await events_of(log, FILES)] == [1, 2]

    async def test_a_takeover_reads_states_and_no_event(self, log: Log) -> None:
        id = (await keys_of_partition(log, 0, 1))[0]
        async with handling(log):
            await send(log, FILES, id, REGISTER, CHECK)
            await replies_to(log, 2)
        reading = ReadingLog(log)
        writer = await reading.transactional_writer("tunesmith-files-0")
        try:
            assert set((await recover(reading, writer, FILES, 0)).states) == {id}
        finally:
            await writer.close()
        assert reading.topics == {topics.state("files")}

    async def test_what_was_sent_while_nobody_handled_is_not_lost(self, log: Log) -> None:
        for n in range(5):
            await send(log, FILES, f"file-{n}", REGISTER)
        async with handling(log):
            assert len(await replies_to(log, 5)) == 5
        assert len(await events_of(log, FILES)) == 5

    async def test_a_backlog_of_many_batches_is_decided_once_whatever_becomes_of_a_commit(
        self, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bounds, "LARGEST_BATCH", 3)
        files = await keys_of_partition(log, 0, 8)
        for id in files:
            await send(log, FILES, id, REGISTER, CHECK, DeleteFile())
        committed = 0
        for broken in (4, 3, 2):  # the commit of that number fails while the batch after it is decided
            with pytest.raises(OutcomeUnknown):
                await serve_partition(BreakingLog(log, broken), FILES, 0, asyncio.Event())
            committed += broken - 2  # the first one is the barrier
            assert len(await events_of(log, FILES)) == 3 * committed
        async with handling(log):
            replies = await replies_to(log, 24)
        assert [reply.repeated for reply in replies] == [False] * 24
        assert [event.id for event in await events_of(log, FILES)] == [
            f"{id}:{version}" for id in files for version in (1, 2, 3)
        ]
        assert (await audit(log, [FILES], {})).wrong == {}

    async def test_a_later_owner_fences_the_earlier_one_and_knows_what_it_did(self, log: Log) -> None:
        stop = asyncio.Event()
        index = 0
        first = asyncio.create_task(serve_partition(log, FILES, index, stop))
        names = await keys_of_partition(log, index, 2)
        await send(log, FILES, names[0], REGISTER)
        await replies_to(log, 1)
        second = await log.transactional_writer(f"tunesmith-files-{index}")
        recovered = await recover(log, second, FILES, index)
        assert set(recovered.states) == {names[0]}
        await send(log, FILES, names[1], REGISTER)
        try:
            async with asyncio.timeout(20):
                await first
        except Fenced:
            pass
        else:
            raise AssertionError("the first owner was not fenced")
        await second.close()
        assert [event.aggregate_id for event in await events_of(log, FILES)] == [names[0]]

    async def test_two_handlers_share_the_work_and_decide_everything_once(self, log: Log) -> None:
        async with handling(log), handling(log):
            for n in range(20):
                await send(log, FILES, f"file-{n}", REGISTER, CHECK)
            await replies_to(log, 40)
        events = await events_of(log, FILES)
        assert sorted(event.id for event in events) == sorted(
            f"file-{n}:{v}" for n in range(20) for v in (1, 2)
        )

    async def test_states_that_another_version_folded_are_folded_anew_once(self, log: Log) -> None:
        async with handling_as(log, OLDER):
            await send(log, FILES, "file-a", REGISTER, CHECK)
            await send(log, FILES, "file-b", REGISTER)
            await replies_to(log, 3)
        for _ in range(2):
            with structlog.testing.capture_logs() as logged:
                async with handling(log):
                    await partitions_taken(logged, 3)
            folded = sum(line["aggregates"] for line in logged if line["event"] == "states_folded_anew")
            kept = {
                one.key: read_aggregate(FILES, one.value or b"").state
                async for one in read_all(log, topics.state("files"))
                if of_this_schema(FILES, one) and not (one.key or "").startswith("!")
            }
            assert {id: file.rows for id, file in kept.items()} == {"file-a": 4, "file-b": None}
            assert (await audit(log, [FILES], {})).wrong == {}
            if not folded:
                break
        else:
            raise AssertionError("what was folded anew was not kept")
        async with handling(log):
            await send(log, FILES, "file-a", CHECK, ids=["cmd-file-a-1"])  # decided by the older version
            await send(log, FILES, "file-a", DeleteFile(), ids=["cmd-delete"])
            assert [reply.repeated for reply in (await replies_to(log, 5))[3:]] == [True, False]
        assert (await audit(log, [FILES], {})).wrong == {}

    async def test_what_the_events_do_not_lead_to_is_not_decided_on(self, log: Log) -> None:
        writer = await log.transactional_writer("tunesmith-files-0")
        lost = Aggregate("file-lost", 1, "f" * 64, state=None)
        await writer.commit([replace(state_record(OLDER, lost.id, encode(lost), 0), partition=0)])
        await writer.close()
        with pytest.raises(NotFolded, match=r"knows version 1 of file-lost, its events lead to version 0"):
            await serve_partition(log, FILES, 0, asyncio.Event())


class ReadingLog:
    """A log that remembers which topics were read."""

    def __init__(self, log: Log) -> None:
        self._log, self.topics = log, set[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def reader(self, positions: Mapping[Partition, int | Start], **options: Any) -> Reader:
        self.topics |= {partition.topic for partition in positions}
        return await self._log.reader(positions, **options)


class BreakingLog:
    """A log whose writers lose the answer to a commit that was not carried out, the `broken`-th from 1."""

    def __init__(self, log: Log, broken: int) -> None:
        self._log, self._broken = log, broken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def transactional_writer(self, transactional_id: str) -> Any:
        writer = await self._log.transactional_writer(transactional_id)
        commit, commits = writer.commit, count(1)

        async def breaking(records: Sequence[Record]) -> list[int]:
            if next(commits) == self._broken:
                raise OutcomeUnknown("no answer")
            return await commit(records)

        writer.commit = breaking  # type: ignore[method-assign]
        return writer


def older_evolve(file: File | None, event: Any, recorded: Recorded) -> File:
    """A version that did not yet count rows."""
    return replace(evolve(file, event, recorded), rows=None)


OLDER = replace(FILES, folding=0, evolve=older_evolve)


@asynccontextmanager
async def handling_as(log: Log, decider: Decider) -> AsyncIterator[None]:
    """A command handler of another version."""
    stop = asyncio.Event()
    serving = [asyncio.create_task(serve_partition(log, decider, index, stop)) for index in range(3)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*serving)


async def partitions_taken(logged: Sequence[Any], count: int) -> None:
    """Wait until a handler that logs there has taken so many partitions."""
    async with asyncio.timeout(20):
        while [line["event"] for line in logged].count("partition_taken") < count:
            await asyncio.sleep(0.02)


async def keys_of_partition(log: Log, index: int, count: int) -> list[str]:
    """Ids whose key goes to that partition."""
    from aiokafka.partitioner import DefaultPartitioner

    partitioner = DefaultPartitioner()
    known = list(range(await log.partition_count("tunesmith.files.commands.v1")))
    found = [f"file-{n}" for n in range(100) if partitioner(f"file-{n}".encode(), known, known) == index]
    return found[:count]
