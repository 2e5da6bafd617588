"""The outcome of a commit stays unknown: its answer is lost, it comes late, or its task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

import aiokafka.producer.sender
import pytest
from msgspec.structs import replace

from app.command_handler.partition import serve_partition
from app.domain.tunings import TUNINGS
from app.log import bounds, kafka_transactions
from app.log.kafka import KafkaLog
from app.log.kafka_transactions import KafkaTransactionalWriter
from app.log.port import OutcomeUnknown, Record
from tests.faults.conftest import Oracle
from tests.faults.kafka_proxy import Trick, proxied
from tests.faults.load import Load
from tests.faults.oracle import answered
from tests.faults.rounds import rounds
from tests.faults.story import CREATE, STORY, story
from tests.faults.watching import whole_transactions_only
from tests.handling import handling

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
REQUEST_SECONDS = 1.0
# So large that what gathers during a fault does not go to the broker at once: only then can it be torn.
LARGE = (replace(CREATE, metadata={"note": "x" * 60_000}), *STORY[1:])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unanswered is so after a second already."""
    monkeypatch.setattr(bounds, "REQUEST_TIMEOUT_MS", int(REQUEST_SECONDS * 1000))


@pytest.mark.parametrize("trick", Trick)
@pytest.mark.usefixtures("quick")
async def test_an_unclear_end_is_settled_by_the_next_fence_and_nothing_is_decided_twice(
    log: KafkaLog, load: Load, true: Oracle, monkeypatch: pytest.MonkeyPatch, trick: Trick
) -> None:
    async with (
        whole_transactions_only(log),
        proxied(log.bootstrap, monkeypatch) as proxy,
        handling(KafkaLog(log.bootstrap), "tunings"),
    ):
        for number in range(rounds(1, 20)):
            await load.send(story(f"before-{number}"))
            await answered(log, load.sent)
            proxy.arm(trick)
            async with load.going_on(f"job-{number}", commands=LARGE):
                async with asyncio.timeout(20):
                    await proxy.played.wait()
                await asyncio.sleep(REQUEST_SECONDS)
            await answered(log, load.sent)
            assert trick is Trick.LOSE_ANSWER or proxy.released == number + 1
    await true()


async def _ends_asked_for(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a transaction's end is asked for when the first time brings no answer."""
    async with proxied(bootstrap, monkeypatch) as proxy:
        writer = await KafkaLog(bootstrap).transactional_writer("test-guard")
        try:
            proxy.arm(Trick.LOSE_ANSWER)
            with suppress(OutcomeUnknown):
                await writer.commit([Record("tunesmith.queue.v1", "k", b"{}")])
            await asyncio.sleep(2 * REQUEST_SECONDS)
        finally:
            await writer.close()
        return proxy.ends


@pytest.mark.usefixtures("quick")
async def test_the_end_of_a_transaction_is_asked_for_once(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _ends_asked_for(log.bootstrap, monkeypatch) == 1


@pytest.mark.usefixtures("quick")
async def test_aiokafka_by_itself_asks_again_which_is_why_it_is_guarded(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_transactions, "GuardedSender", aiokafka.producer.sender.Sender)
    assert await _ends_asked_for(log.bootstrap, monkeypatch) == 2


class CancelledAt:
    """Awaits what it is given, and calls `cancel` where that waits for the `turn`-th time, from 0."""

    def __init__(self, work: Awaitable[Any], turn: int, cancel: Callable[[], object]) -> None:
        self._work, self._turn, self._cancel = work, turn, cancel
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._work.__await__()
        turn, action, value = 0, inner.send, None
        while True:
            try:
                waited_for = action(value)
            except StopIteration as end:
                return end.value
            if turn == self._turn:
                self.reached = True
                self._cancel()
            turn += 1
            try:
                value = yield waited_for
                action = inner.send
            except BaseException as error:  # noqa: BLE001 – whatever it is, it belongs to the work
                action, value = inner.throw, error


class CancellingLog(KafkaLog):
    """At one of the awaits of its writers' second commit, the first batch, `task` is cancelled."""

    def __init__(self, bootstrap: str, turn: int) -> None:
        super().__init__(bootstrap)
        self._turn = turn
        self.task: asyncio.Task[None] | None = None
        self.reached = False

    async def transactional_writer(self, transactional_id: str) -> KafkaTransactionalWriter:
        writer = await super().transactional_writer(transactional_id)
        commit: Callable[[Sequence[Record]], Awaitable[list[int]]] = writer.commit
        commits = 0

        async def cancelled(records: Sequence[Record]) -> list[int]:
            nonlocal commits
            commits += 1
            if commits != 2:
                return await commit(records)
            task = self.task or asyncio.current_task()
            assert task is not None
            work = CancelledAt(commit(records), self._turn, task.cancel)
            try:
                return list(await work)
            finally:
                self.reached = work.reached

        writer.commit = cancelled  # type: ignore[method-assign]
        return writer


@pytest.mark.parametrize("whole", [False, True], ids=["the commit", "the partition's task"])
async def test_cancelled_at_each_await_of_the_commit_it_ends_and_nothing_is_decided_twice(
    log: KafkaLog, load: Load, true: Oracle, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(bounds, "LARGEST_BATCH", 2)  # so that the next batch is decided meanwhile
    async with whole_transactions_only(log):
        turn, reached = 0, True
        while reached:
            cancelling = CancellingLog(log.bootstrap, turn)
            stop = asyncio.Event()
            await load.send(story(f"job-{turn}"))
            task = asyncio.create_task(serve_partition(cancelling, TUNINGS, 0, stop))
            cancelling.task = task if whole else None
            try:
                answering = asyncio.create_task(answered(log, load.sent))
                await asyncio.wait([task, answering], return_when=asyncio.FIRST_COMPLETED, timeout=30)
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
                reached = cancelling.reached
                stop.set()
                async with asyncio.timeout(20):  # no loop is stuck
                    [ended] = await asyncio.gather(task, return_exceptions=True)
                assert isinstance(ended, asyncio.CancelledError) == reached, ended
            finally:
                task.cancel()
            turn += 1
    assert turn > 3
    await true()
