"""When a handler gives up: after failures in a row, and not for failures between which it decides."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.command_handler.serve import GaveUp, serve
from app.domain.files import FILES
from app.log import bounds
from app.log.memory import MemoryLog
from app.log.port import Unavailable
from app.log.topics import declared
from tests.handler_contract import REGISTER, BreakingLog
from tests.handling import events_of, handling, replies_to, send


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    monkeypatch.setattr(bounds, "LONGEST_BACKOFF", 0.001)
    return MemoryLog({topic.name: 1 for topic in declared("embedded")})


async def test_a_handler_that_never_gets_anywhere_gives_up_for_a_fresh_process(log: MemoryLog) -> None:
    asked = 0

    class DeafLog(BreakingLog):
        async def transactional_writer(self, _: str) -> Any:
            nonlocal asked
            asked += 1
            raise Unavailable("nobody there")

    with pytest.raises(
        GaveUp, match=rf"files partition 0 failed {bounds.FAILURES_BEFORE_EXIT} times: nobody"
    ):
        await serve(DeafLog(log, 0), asyncio.Event(), ["files"])
    assert asked == bounds.FAILURES_BEFORE_EXIT


async def test_a_handler_that_decides_between_its_failures_goes_on(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LARGEST_BATCH", 1)
    files = [f"file-{number}" for number in range(2 * bounds.FAILURES_BEFORE_EXIT)]
    for id in files:
        await send(log, FILES, id, REGISTER)
    async with handling(BreakingLog(log, 3)):  # the barrier, one decision, a failure
        await replies_to(log, len(files))
    assert [event.aggregate_id for event in await events_of(log, FILES)] == files


async def test_a_handler_that_fails_at_the_same_command_again_and_again_gives_up(log: MemoryLog) -> None:
    await send(log, FILES, "file-a", REGISTER)
    with pytest.raises(GaveUp, match="no answer"):
        await serve(BreakingLog(log, 2), asyncio.Event(), ["files"])  # the barrier, a failure
    assert await events_of(log, FILES) == []
