"""Seed after seed holds; a seed is the same run each time; what the protocol leaves out is found."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from msgspec import json

from app.command_handler import partition
from app.command_handler.batch import decide_batch
from app.domain.decider import Decider
from app.log import topics
from app.log.aggregates import CURSOR_KEY, Aggregate, Cursor
from app.log.memory import MemoryLog, MemoryTransactionalWriter
from app.log.port import Log, OutcomeUnknown, Partition, Reader, Start, TransactionalWriter
from tests.faults.rounds import rounds
from tests.simulation.model import MemoryModel
from tests.simulation.run import Wrong, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
AT_A_TIME = 50


def wrong_seed(first: int) -> str:
    """The first of these seeds that does not hold, and why; nothing if all do."""
    for seed in range(first, first + AT_A_TIME):
        try:
            run(seed, partitions=3 if seed % 5 == 0 else 1)
        except Wrong as wrong:
            end = "\n".join(wrong.trace[-20:])
            more = " --partitions 3" if seed % 5 == 0 else ""
            return f"{end}\n{wrong}\nagain: python -m tests.simulation {seed} --trace{more}"
    return ""


def test_seed_after_seed_holds() -> None:
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for wrong in processes.map(wrong_seed, range(0, rounds(600, 50_000), AT_A_TIME)):
            assert not wrong, wrong


def test_a_seed_is_the_same_run_in_every_process() -> None:
    code = "from tests.simulation.run import run; print([run(seed, 3).digest for seed in range(5)])"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(hashed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashed in range(3)
    }
    assert len(runs) == 1
    assert len({run(seed).digest for seed in range(5)}) == 5


def without_fence(patch: pytest.MonkeyPatch) -> None:
    """A new producer leaves the old one's transactions alone."""

    async def transactional_writer(self: MemoryLog, id: str) -> MemoryTransactionalWriter:
        self._epochs[id] = 1
        return MemoryTransactionalWriter(self, id, 1)

    patch.setattr(MemoryLog, "transactional_writer", transactional_writer)


def without_barrier(patch: pytest.MonkeyPatch) -> None:
    """The states are read until nothing comes, instead of past a record of one's own."""

    async def recover(log: Log, _: Any, decider: Decider, index: int) -> partition.Recovered:
        there = Partition(topics.state(decider.stream), index)
        reader = await log.reader({there: Start.FIRST})
        states: dict[str, bytes] = {}
        next_offset = 0
        while found := await reader.fetch(5_000, 0.05):
            for record in found:
                if record.key == CURSOR_KEY:
                    next_offset = json.decode(record.value or b"", type=Cursor).next_offset
                elif record.key is not None and not record.key.startswith("!"):
                    states[record.key] = record.value or b""
        await reader.close()
        return partition.Recovered(states, next_offset)

    patch.setattr(partition, "recover", recover)


def deciding(patch: pytest.MonkeyPatch, *, again: bool) -> None:
    """A commit without an answer is taken for done, or is made again by the same producer."""

    async def decide_all(
        log: Log,
        decider: Decider,
        writer: TransactionalWriter,
        reader: Reader,
        states: dict[str, bytes],
        stop: asyncio.Event,
        _: Callable[[int], None],
    ) -> None:
        replies = await log.partition_count(topics.REPLIES)
        stopped = asyncio.create_task(stop.wait())
        while commands := await partition._next(reader, stopped):
            batch = await decide_batch(decider, states, commands, replies)
            while True:
                try:
                    await writer.commit(batch.records)
                    break
                except OutcomeUnknown:
                    if not again:
                        break
            states.update(batch.states)

    patch.setattr(partition, "_decide_all", decide_all)


def taking_no_answer_for_done(patch: pytest.MonkeyPatch) -> None:
    deciding(patch, again=False)


def committing_again(patch: pytest.MonkeyPatch) -> None:
    deciding(patch, again=True)


def without_cursor(patch: pytest.MonkeyPatch) -> None:
    """The next command's offset is not part of the transaction."""

    async def decided(*arguments: Any) -> Any:
        batch = await decide_batch(*arguments)
        batch.records[:] = [record for record in batch.records if record.key != CURSOR_KEY]
        return batch

    patch.setattr(partition, "decide_batch", decided)


def forgetting_commands(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Aggregate, "decided", lambda *_: None)


def without_compare_and_set(patch: pytest.MonkeyPatch) -> None:
    """A projector's checkpoint is set whatever it was."""

    def advance(self: MemoryModel, place: Partition, _: int, moved: int) -> None:
        self.checkpoints[place] = moved

    patch.setattr(MemoryModel, "advance", advance)


@pytest.mark.parametrize(
    "leave_out",
    [
        without_fence,
        without_barrier,
        taking_no_answer_for_done,
        committing_again,
        without_cursor,
        forgetting_commands,
        without_compare_and_set,
    ],
)
def test_what_the_protocol_leaves_out_is_found(
    monkeypatch: pytest.MonkeyPatch, leave_out: Callable[[pytest.MonkeyPatch], None]
) -> None:
    leave_out(monkeypatch)
    with pytest.raises(Wrong):
        _run_many(400)


def _run_many(count: int) -> None:
    for seed in range(count):
        run(seed)
