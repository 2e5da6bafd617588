"""Two command handlers at once: one stopped and woken again, one forced beside the owner, one hanging."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from msgspec import json

from app.command_handler.partition import serve_partition
from app.domain.tunings import TUNINGS
from app.log import bounds, topics
from app.log.aggregates import OWNER_KEY
from app.log.kafka import KafkaLog
from app.log.port import Fenced, Partition, Start, read_all
from tests.faults.conftest import Oracle
from tests.faults.load import Load
from tests.faults.oracle import answered
from tests.faults.processes import process
from tests.faults.rounds import rounds
from tests.faults.story import story
from tests.faults.watching import whole_transactions_only
from tests.handling import handling

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HANDLER = "tests.faults.handler"


async def owners(log: KafkaLog) -> list[bytes | None]:
    """Everyone who took the partition, in order."""
    return [one.value async for one in read_all(log, topics.state("tunings")) if one.key == OWNER_KEY]


async def until_owned(log: KafkaLog, times: int, within: float = 30.0) -> None:
    """Wait until the partition was taken so often."""
    async with asyncio.timeout(within):
        while len(await owners(log)) < times:
            await asyncio.sleep(0.05)


async def until_logged(path: Path, *events: str, within: float = 30.0) -> None:
    """Wait until a process logged one of these."""
    async with asyncio.timeout(within):
        while not any(f'"{event}"' in path.read_text() for event in events):
            await asyncio.sleep(0.05)


def taken_at(path: Path) -> list[str]:
    """When a process took the partition, as it logged it."""
    return _times(path, "partition_taken")


def _times(path: Path, event: str) -> list[str]:
    lines = [line for line in path.read_text().splitlines() if f'"event": "{event}"' in line]
    return [json.decode(line)["timestamp"] for line in lines]


async def test_a_handler_stopped_past_its_session_and_woken_up_writes_nothing_and_drops_the_partition(
    log: KafkaLog, load: Load, true: Oracle, tmp_path: Path
) -> None:
    for number in range(rounds(1, 10)):
        before = len(await owners(log))
        stopped, successor = tmp_path / f"stopped-{number}.log", tmp_path / f"successor-{number}.log"
        async with (
            whole_transactions_only(log),
            process(HANDLER, log.bootstrap, "--group", log=stopped) as first,
            process(HANDLER, log.bootstrap, "--group", log=successor) as second,
        ):
            await first.go()
            async with load.going_on(f"job-{number}"):
                await until_owned(log, before + 1)
                await answered(log, load.sent)
                first.send(signal.SIGSTOP)
                await second.go()
                await until_owned(log, before + 2)
                await answered(log, load.sent)
                first.send(signal.SIGCONT)
                # In the middle of a commit it hears nothing of that; else it is fenced, or no owner any more.
                await until_logged(stopped, "fenced", "partition_left", "partition_failed")
            await answered(log, load.sent)
            # It drops the partition, and takes it again only where the group has given it back: by then the
            # successor was told that everything is assigned anew, and it takes it no more.
            again = taken_at(stopped)[1:]
            assert len(await owners(log)) == before + len(taken_at(stopped)) + len(taken_at(successor))
            assert len(again) <= 1
            if again:
                assert _times(successor, "assigned_anew_soon")[0] < again[0]
                await until_logged(successor, "partition_left", "fenced")
                assert len(taken_at(successor)) == 1
    await true()


async def test_of_two_handlers_on_one_partition_the_later_wins_and_they_do_not_fence_each_other_in_turn(
    log: KafkaLog, load: Load, true: Oracle
) -> None:
    async with handling(log, "tunings"), load.going_on("job"):
        await until_owned(log, 1)
        for number in range(rounds(2, 20)):
            taken = 1 + 2 * number
            intruder = asyncio.create_task(serve_partition(log, TUNINGS, 0, asyncio.Event()))
            # The intruder is later, and wins; the owner leaves the group, and once it is assigned the
            # partition anew it is the later one, and wins for good.
            await until_owned(log, taken + 2)
            with pytest.raises(Fenced):
                await asyncio.wait_for(intruder, 30)
        told = len(load.sent)
        async with asyncio.timeout(30):
            while len(load.sent) < told + 300:
                await asyncio.sleep(0.05)
        assert len(await owners(log)) == 1 + 2 * rounds(2, 20)
    await true()


async def test_readers_go_on_within_the_timeout_of_a_producer_that_hangs_with_an_open_transaction(
    log: KafkaLog, load: Load, true: Oracle, tmp_path: Path
) -> None:
    events = Partition(topics.events("tunings"), 0)
    # One that is no handler's: nobody comes to fence it.
    hanging = await log.transactional_writer("test-hangs")
    await hanging._producer.begin_transaction()
    await (await hanging._producer.send(events.topic, b"{}", b"never-seen", partition=0))
    loop = asyncio.get_running_loop()
    since = loop.time()
    try:
        async with handling(log, "tunings"):
            await load.send(story("job"))
            await answered(log, load.sent)
            reader = await log.reader({events: Start.FIRST})
            try:
                async with asyncio.timeout(bounds.TRANSACTION_TIMEOUT_MS / 1000 + 15):
                    while not (seen := await reader.fetch(100, 0.5)):
                        pass
            finally:
                await reader.close()
        waited = loop.time() - since
        assert all(record.key == "job" for record in seen)
        assert waited < bounds.TRANSACTION_TIMEOUT_MS / 1000 + 3, f"readers waited for {waited:.1f} s"
    finally:
        hanging._broken = True
        await hanging.close()
    await true()
