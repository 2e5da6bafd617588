"""The command handler is killed with -9: at each step of the writer's protocol, and at random under load."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from app.log.kafka import KafkaLog
from tests.faults.conftest import Oracle
from tests.faults.crashes import POINTS
from tests.faults.load import Load
from tests.faults.processes import process
from tests.faults.rounds import rounds
from tests.faults.watching import whole_transactions_only

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
HANDLER = "tests.faults.handler"


async def test_killed_at_each_point_of_the_protocol_it_decides_every_command_once(
    log: KafkaLog, load: Load, true: Oracle, tmp_path: Path
) -> None:
    points = [point for _ in range(rounds(2, 10)) for point in POINTS]
    async with AsyncExitStack() as processes:
        prepared = [
            await processes.enter_async_context(
                process(
                    HANDLER,
                    log.bootstrap,
                    "--crash",
                    point,
                    "--batches",
                    str(random.randrange(4)),
                    log=tmp_path / f"{number}.log",
                )
            )
            for number, point in enumerate(points)
        ]
        async with whole_transactions_only(log), load.going_on("job"):
            for one in prepared:
                await one.go()
                await one.killed_itself()
    await true()


async def test_killed_at_random_under_load_it_decides_every_command_once(
    log: KafkaLog, load: Load, true: Oracle, tmp_path: Path
) -> None:
    async with whole_transactions_only(log) as seen, load.going_on("job"):
        for number in range(rounds(4, 50)):
            async with process(HANDLER, log.bootstrap, log=tmp_path / f"{number}.log") as handler:
                await handler.go()
                if number == 0:  # on a slow machine the others may be killed before they decide anything
                    await seen.wait()
                await asyncio.sleep(random.uniform(0.1, 1.2))  # the moment is the test's to choose
                handler.send(signal.SIGKILL)
    await true()
