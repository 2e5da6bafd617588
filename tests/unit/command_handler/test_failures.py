"""When a handler gives up: after failures in a row, and not for failures between which it decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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


class FailingLog(BreakingLog):
    """A log whose first `times` transactional writers cannot be had."""

    def __init__(self, log: MemoryLog, error: Exception, times: int) -> None:
        super().__init__(log, 0)
        self._error, self._times, self.asked = error, times, 0

    async def transactional_writer(self, transactional_id: str) -> Any:
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return await super().transactional_writer(transactional_id)


class LosingLog(BreakingLog):
    """A log whose group is lost at once, and takes its member back only after so many `refusals`."""

    def __init__(self, log: MemoryLog, refusals: int) -> None:
        super().__init__(log, 0)
        self._refusals, self.rejoined = refusals, 0

    async def join(self, group: str, topics: Iterable[str]) -> Any:
        membership = await self._log.join(group, topics)
        changed, rejoin = membership.changed, membership.rejoin

        async def lost() -> Any:
            if not self.rejoined:
                raise Unavailable("the group was lost")
            return await changed()

        async def refused() -> None:
            self.rejoined += 1
            if self.rejoined <= self._refusals:
                raise Unavailable("nobody there")
            await rejoin()

        membership.changed, membership.rejoin = lost, refused  # type: ignore[method-assign]
        return membership


async def test_a_handler_that_never_gets_anywhere_gives_up_for_a_fresh_process(log: MemoryLog) -> None:
    failing = FailingLog(log, RuntimeError("out of order"), 1_000)
    with pytest.raises(
        GaveUp, match=rf"files partition 0 failed {bounds.FAILURES_BEFORE_EXIT} times: out of order"
    ):
        await serve(failing, asyncio.Event(), ["files"])
    assert failing.asked == bounds.FAILURES_BEFORE_EXIT


async def test_brokers_that_are_away_are_waited_for(log: MemoryLog) -> None:
    await send(log, FILES, "file-a", REGISTER)
    away = FailingLog(log, Unavailable("nobody there"), 10 * bounds.FAILURES_BEFORE_EXIT)
    async with handling(away):
        await replies_to(log, 1)
    assert away.asked > 10 * bounds.FAILURES_BEFORE_EXIT


async def test_a_group_that_is_lost_is_joined_anew(log: MemoryLog) -> None:
    await send(log, FILES, "file-a", REGISTER)
    losing = LosingLog(log, 3)
    async with handling(losing):
        await replies_to(log, 1)
    assert losing.rejoined == 4


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
