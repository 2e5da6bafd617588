"""What the command handler keeps on any log. Run against memory and against Kafka."""

from __future__ import annotations

import asyncio

from app.command_handler.partition import recover, serve_partition
from app.domain.files import FILES, DeleteFile, RecordCheck, RegisterFile
from app.log.port import Fenced, Log
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

    async def test_what_was_sent_while_nobody_handled_is_not_lost(self, log: Log) -> None:
        for n in range(5):
            await send(log, FILES, f"file-{n}", REGISTER)
        async with handling(log):
            assert len(await replies_to(log, 5)) == 5
        assert len(await events_of(log, FILES)) == 5

    async def test_a_later_owner_fences_the_earlier_one_and_knows_what_it_did(self, log: Log) -> None:
        stop = asyncio.Event()
        index = 0
        first = asyncio.create_task(serve_partition(log, FILES, index, stop))
        names = await keys_of_partition(log, index, 2)
        await send(log, FILES, names[0], REGISTER)
        await replies_to(log, 1)
        second = await log.transactional_writer(f"tunesmith-files-{index}")
        recovered = await recover(log, second, "files", index)
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


async def keys_of_partition(log: Log, index: int, count: int) -> list[str]:
    """Ids whose key goes to that partition."""
    from aiokafka.partitioner import DefaultPartitioner

    partitioner = DefaultPartitioner()
    known = list(range(await log.partition_count("tunesmith.files.commands.v1")))
    found = [f"file-{n}" for n in range(100) if partitioner(f"file-{n}".encode(), known, known) == index]
    return found[:count]
