"""The loop on a log in memory, with a real command handler: who is assigned, lost, and told a place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from app.domain.accounts import ACCOUNTS, Limits, OpenAccount, ReinstateAccount, SuspendAccount
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.tunings import (
    TUNINGS,
    AttemptLost,
    CancelTuning,
    CreateTuning,
    Dispatched,
    Failure,
    FileRef,
    HandBackAttempt,
    ModelRef,
    Order,
    ReportFailed,
    ReportLost,
    ReportStarted,
    UpdateTuning,
)
from app.log import topics
from app.log.aggregates import read_aggregate
from app.log.memory import MemoryLog, MemoryTransactionalWriter
from app.log.port import read_all
from app.log.queue import QueuePlace
from app.log.topics import declared
from app.log.workers import (
    Control,
    Device,
    Heartbeat,
    Occupant,
    Slot,
    control_record,
    heartbeat_record,
    read_control,
)
from app.scheduler.loop import TRANSACTIONAL_ID, serve
from app.scheduler.scheduler import not_before
from app.settings import Settings
from tests.handling import events_of, handling, send

SETTINGS = Settings(cache_dir=Path("unused"), lease_seconds=0.6, stall_seconds=60)
CPU = Device("cpu", "a cpu", 8 * 1024**3)


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    log = MemoryLog({topic.name: 1 for topic in declared("embedded")})
    async with handling(log, "tunings", "accounts"):
        yield log


@asynccontextmanager
async def scheduling(
    log: MemoryLog, settings: Settings = SETTINGS, ahead: timedelta = timedelta()
) -> AsyncIterator[None]:
    """A scheduler, its wall clock so far ahead."""
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, log, stop, lambda: datetime.now(UTC) + ahead))
    try:
        yield
    finally:
        stop.set()
        await task


async def handed_back(log: MemoryLog) -> list[HandBackAttempt]:
    """The orders to hand back."""
    orders = [msgspec.json.decode(one.value or b"", type=Order) async for one in read_all(log, topics.WORK)]
    return [order for order in orders if isinstance(order, HandBackAttempt)]


async def controls(log: MemoryLog) -> list[Control]:
    """What stands about workers."""
    found = {}
    async for one in read_all(log, topics.WORKERS):
        if (control := read_control(one)) is not None:
            found[control.worker] = control
    return [one for one in found.values() if one.drain or one.set_aside]


async def create(log: MemoryLog, id: str, *, memory: int = 0, account: str = "acct-1") -> None:
    hyperparameters = resolve({}, rows=10, context_length=2048)
    assert isinstance(hyperparameters, Hyperparameters)
    file = FileRef("file-a", "00", "files/a", 10, 10)
    wanted = CreateTuning(account, ModelRef("m", "r1"), file, None, hyperparameters, memory=memory)
    await send(log, TUNINGS, id, wanted)


async def beat(
    log: MemoryLog,
    number: int,
    occupant: Occupant | None = None,
    worker: str = "w",
    session: str = "s1",
    more: int = 0,
) -> None:
    writer = await log.writer()
    slots = (Slot(0, CPU, occupant), *(Slot(1 + index, CPU) for index in range(more)))
    await writer.send(heartbeat_record(Heartbeat(worker, session, number, slots)))


async def dispatched(log: MemoryLog) -> list[tuple[str, str, int]]:
    """Every attempt given away: tuning, worker, number."""
    events = await events_of(log, TUNINGS)
    return [
        (one.aggregate_id, one.body.attempt.worker, one.body.attempt.number)
        for one in events
        if isinstance(one.body, Dispatched)
    ]


async def lost(log: MemoryLog) -> list[str]:
    return [one.body.reason for one in await events_of(log, TUNINGS) if isinstance(one.body, AttemptLost)]


async def places(log: MemoryLog) -> dict[str, int | None]:
    """The positions on the queue topic, compacted."""
    found: dict[str, int | None] = {}
    async for one in read_all(log, topics.QUEUE):
        found[one.key or ""] = msgspec.json.decode(one.value, type=QueuePlace).position if one.value else None
    return found


async def queue(log: MemoryLog) -> dict[str, QueuePlace]:
    """Those on the queue topic that wait."""
    found: dict[str, QueuePlace] = {}
    async for one in read_all(log, topics.QUEUE):
        found.pop(one.key or "", None)
        if one.value:
            found[one.key or ""] = msgspec.json.decode(one.value, type=QueuePlace)
    return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_the_first_starts_and_the_others_are_told_their_places(log: MemoryLog) -> None:
    for id in ("job-1", "job-2", "job-3"):
        await create(log, id)
    await beat(log, 1)
    async with scheduling(log):

        async def told() -> bool:
            return await places(log) == {"job-2": 1, "job-3": 2} and len(await dispatched(log)) == 1

        await until(told)
        assert await dispatched(log) == [("job-1", "w", 1)]
        await send(log, TUNINGS, "job-3", UpdateTuning(priority=1), ids=["update"])

        async def overtaken() -> bool:
            return await places(log) == {"job-2": 2, "job-3": 1}

        await until(overtaken)
        await send(log, TUNINGS, "job-2", CancelTuning(), ids=["cancel"])

        async def moved_up() -> bool:
            return await places(log) == {"job-2": None, "job-3": 1}

        await until(moved_up)


async def test_a_tuning_that_fits_no_device_waits_and_is_told_so(log: MemoryLog) -> None:
    await create(log, "job-big", memory=80 * 1024**3)
    await create(log, "job-small")
    await beat(log, 1)
    async with scheduling(log):

        async def small_started() -> bool:
            return [one[0] for one in await dispatched(log)] == ["job-small"]

        await until(small_started)
        assert await places(log) == {"job-big": 1}


async def test_the_waiting_are_told_when_they_will_likely_start_once_the_running_one_says(
    log: MemoryLog,
) -> None:
    for id in ("job-1", "job-2", "job-3"):
        await create(log, id)
    await beat(log, 1)
    async with scheduling(log, msgspec.structs.replace(SETTINGS, lease_seconds=60)):

        async def given() -> bool:
            return len(await dispatched(log)) == 1 and len(await places(log)) == 2

        await until(given)
        assert {place.estimated_start for place in (await queue(log)).values()} == {None}
        await send(log, TUNINGS, "job-1", ReportStarted(1, "s1"), ids=["started"])
        began = datetime.now(UTC)
        await beat(log, 2, Occupant("job-1", 1, "training", 3, seconds_left=600.0))

        async def told() -> bool:
            return all(place.estimated_start for place in (await queue(log)).values())

        await until(told)
        second, third = [(await queue(log))[id].estimated_start for id in ("job-2", "job-3")]
        assert second is not None
        assert third is not None
        # As long as it has left; then as long again for one of the same size.
        assert 600 <= (second - began).total_seconds() <= 640
        assert 595 <= (third - second).total_seconds() <= 640
        written = [one async for one in read_all(log, topics.QUEUE)]
        for number, left in ((3, 599.0), (4, 598.0), (5, 597.0)):
            await beat(log, number, Occupant("job-1", 1, "training", number, seconds_left=left))
        await beat(log, 6, Occupant("job-1", 1, "training", 6, seconds_left=30.0))

        async def sooner() -> bool:
            start = (await queue(log))["job-2"].estimated_start
            return start is not None and (start - began).total_seconds() < 60

        await until(sooner)  # and nothing was told of the steps between
        more = [one async for one in read_all(log, topics.QUEUE)][len(written) :]
        assert sorted(one.key or "" for one in more) == ["job-2", "job-3"]


async def test_a_suspended_accounts_tunings_wait_until_it_is_reinstated(log: MemoryLog) -> None:
    await send(log, ACCOUNTS, "acct-1", OpenAccount("one"), SuspendAccount())
    await create(log, "job-held")
    await create(log, "job-free", account="acct-2")
    await beat(log, 1, more=3)
    async with scheduling(log, msgspec.structs.replace(SETTINGS, lease_seconds=60)):

        async def free_started() -> bool:
            return await dispatched(log) == [("job-free", "w", 1)]

        await until(free_started)
        await create(log, "job-free-too", account="acct-2")

        async def passed_by() -> bool:
            return len(await dispatched(log)) == 2

        await until(passed_by)
        assert {one[0] for one in await dispatched(log)} == {"job-free", "job-free-too"}
        await send(log, ACCOUNTS, "acct-1", ReinstateAccount(), ids=["reinstate"])

        async def held_started() -> bool:
            return (await dispatched(log))[-1][0] == "job-held"

        await until(held_started)


async def test_an_account_runs_as_many_as_its_own_limit_or_the_installations(log: MemoryLog) -> None:
    await send(log, ACCOUNTS, "acct-2", OpenAccount("two", limits=Limits(running_tunings=2)))
    for account in ("acct-1", "acct-2"):
        for number in range(3):
            await create(log, f"{account}-job-{number}", account=account)
    await beat(log, 1, more=5)
    async with scheduling(log, msgspec.structs.replace(SETTINGS, running_tunings=1, lease_seconds=60)):

        async def full() -> bool:
            return len(await dispatched(log)) == 3 and len(await places(log)) == 3

        await until(full)
        started = sorted(one[0] for one in await dispatched(log))
        assert started == ["acct-1-job-0", "acct-2-job-0", "acct-2-job-1"]
        await send(log, TUNINGS, "acct-1-job-0", CancelTuning(), ids=["cancel"])

        async def next_one() -> bool:
            return "acct-1-job-1" in {one[0] for one in await dispatched(log)}

        await until(next_one)
        assert len(await dispatched(log)) == 4


async def test_a_silent_workers_attempt_goes_to_another_worker(log: MemoryLog) -> None:
    await create(log, "job-1")
    await beat(log, 1)
    async with scheduling(log):

        async def given() -> bool:
            return await dispatched(log) == [("job-1", "w", 1)]

        await until(given)
        number = 1

        async def moved() -> bool:
            nonlocal number
            number += 1
            await beat(log, number, worker="other")
            return len(await dispatched(log)) == 2

        await until(moved)
        assert await lost(log) == ["worker_lost"]
        assert (await dispatched(log))[1] == ("job-1", "other", 2)


async def test_a_worker_that_came_back_has_lost_what_its_former_life_had(log: MemoryLog) -> None:
    await create(log, "job-1")
    await beat(log, 1)
    async with scheduling(log):

        async def given() -> bool:
            return len(await dispatched(log)) == 1

        await until(given)
        number = 0

        async def again() -> bool:
            nonlocal number
            number += 1
            await beat(log, number, session="s2")
            return len(await dispatched(log)) == 2

        await until(again)
        assert await lost(log) == ["worker_lost"]


async def test_of_two_schedulers_one_plans_and_the_other_takes_over(log: MemoryLog) -> None:
    writers = []
    opened = log.transactional_writer

    async def counted(transactional_id: str) -> MemoryTransactionalWriter:
        if transactional_id == TRANSACTIONAL_ID:
            writers.append(transactional_id)
        return await opened(transactional_id)

    log.transactional_writer = counted  # type: ignore[method-assign]
    async with scheduling(log):
        async with scheduling(log):
            await create(log, "job-1")
            await beat(log, 1)

            async def given() -> bool:
                return len(await dispatched(log)) == 1

            await until(given)
            await beat(log, 2, Occupant("job-1", 1))
        before = len(writers)  # one for who plans, one more at most for the change when the second one joined
        assert before <= 2
        await create(log, "job-2")
        await beat(log, 3)

        async def goes_on() -> bool:
            return [one[0] for one in await dispatched(log)] == ["job-1", "job-2"] or await lost(log) != []

        await until(goes_on)


async def test_a_restarted_scheduler_gives_nothing_away_twice(log: MemoryLog) -> None:
    await create(log, "job-1")
    await create(log, "job-2")
    await beat(log, 1)
    for _ in range(3):
        async with scheduling(log):

            async def given() -> bool:
                return len(await dispatched(log)) >= 1 and (await places(log)).get("job-2") == 1

            await until(given)
    assert await dispatched(log) == [("job-1", "w", 1)]


async def test_the_wait_after_a_loss_grows_and_has_a_bound(log: MemoryLog) -> None:
    await create(log, "job-1")

    async def there() -> bool:
        return bool(await events_of(log, TUNINGS))

    await until(there)
    [kept] = [one async for one in read_all(log, topics.state("tunings")) if one.key == "job-1"]
    tuning = read_aggregate(TUNINGS, kept.value or b"").state
    assert not_before(tuning) is None
    waits = []
    for attempts in range(1, 12):
        due = not_before(msgspec.structs.replace(tuning, lost_at=tuning.created_at, attempts=attempts))
        assert due is not None
        waits.append((due - tuning.created_at).total_seconds())
    assert waits == sorted(waits)
    assert waits[0] == 1.0
    assert waits[-1] == 60.0


async def test_a_higher_priority_has_a_running_one_hand_back_its_device_once_it_is_not_just_begun(
    log: MemoryLog,
) -> None:
    """Played at the level of messages: the test is the worker."""
    await create(log, "job-low")
    await beat(log, 1)
    patient = msgspec.structs.replace(SETTINGS, lease_seconds=60)
    async with scheduling(log, patient):

        async def given() -> bool:
            return len(await dispatched(log)) == 1

        await until(given)
        await send(log, TUNINGS, "job-low", ReportStarted(1, "s1"), ids=["started"])
        await beat(log, 2, Occupant("job-low", 1, "training", 3))
        await create(log, "job-urgent")
        await send(log, TUNINGS, "job-urgent", UpdateTuning(priority=1), ids=["urgent"])

        async def waits() -> bool:
            return await places(log) == {"job-urgent": 1}

        await until(waits)
        assert await handed_back(log) == []  # it is spared for its first minute
    later = timedelta(minutes=5)
    async with scheduling(log, patient, ahead=later):

        async def asked() -> bool:
            return len(await handed_back(log)) == 1

        await until(asked)
        [order] = await handed_back(log)
        assert (order.tuning_id, order.attempt, order.session, order.reason) == (
            "job-low",
            1,
            "s1",
            "preempted",
        )
        await beat(log, 3, Occupant("job-low", 1, "training", 4))
        await send(log, TUNINGS, "job-low", ReportLost(1, "s1", "preempted"), ids=["preempted"])
        await beat(log, 4)

        async def urgent_runs() -> bool:
            return [one[0] for one in await dispatched(log)] == ["job-low", "job-urgent"]

        await until(urgent_runs)
        await beat(log, 5, Occupant("job-urgent", 1, "training", 1))

        async def low_waits() -> bool:
            return (await places(log)).get("job-low") == 1

        await until(low_waits)
        assert len(await handed_back(log)) == 1


async def test_a_drained_workers_attempts_go_elsewhere_and_it_gets_no_more(log: MemoryLog) -> None:
    await create(log, "job-1")
    await beat(log, 1)
    async with scheduling(log, msgspec.structs.replace(SETTINGS, lease_seconds=60)):

        async def given() -> bool:
            return len(await dispatched(log)) == 1

        await until(given)
        await beat(log, 2, Occupant("job-1", 1))
        await beat(log, 1, worker="other")
        writer = await log.writer()
        await writer.send(control_record(Control("w", "hand_back")))

        async def asked() -> bool:
            return [one.reason for one in await handed_back(log)] == ["drained"]

        await until(asked)
        await send(log, TUNINGS, "job-1", ReportLost(1, "s1", "drained"), ids=["drained"])
        await beat(log, 3)

        async def moved() -> bool:
            return len(await dispatched(log)) == 2

        await until(moved)
        assert (await dispatched(log))[1] == ("job-1", "other", 2)
        await create(log, "job-2")
        await beat(log, 2, Occupant("job-1", 2), worker="other")

        async def waits() -> bool:
            return await places(log) == {"job-2": 1}

        await until(waits)
        await writer.send(control_record(Control("w")))

        async def undrained() -> bool:
            return (await dispatched(log))[-1] == ("job-2", "w", 1)

        await until(undrained)


async def test_a_worker_on_which_three_tunings_fail_alike_is_set_aside_until_its_session_is_new(
    log: MemoryLog,
) -> None:
    for number in range(4):
        await create(log, f"job-{number}")
    async with scheduling(log, msgspec.structs.replace(SETTINGS, lease_seconds=60)):
        for number in range(3):
            await beat(log, 2 * number + 1)

            async def given(number: int = number) -> bool:
                return len(await dispatched(log)) == number + 1

            await until(given)
            id = (await dispatched(log))[-1][0]
            await beat(log, 2 * number + 2, Occupant(id, 1))
            broken = Failure("model_unreadable", "platform", "the model cannot be read")
            ends = (ReportStarted(1, "s1"), ReportFailed(1, "s1", broken))
            await send(log, TUNINGS, id, *ends, ids=[f"started-{id}", f"failed-{id}"])

        async def aside() -> bool:
            found = await controls(log)
            return len(found) == 1 and found[0].session == "s1" and "model_unreadable" in str(found[0])

        await until(aside)
        await beat(log, 9)

        async def waits() -> bool:
            return (await places(log)).get("job-3") == 1

        await until(waits)
        assert len(await dispatched(log)) == 3
        await beat(log, 1, session="s2")

        async def back() -> bool:
            return len(await dispatched(log)) == 4 and await controls(log) == []

        await until(back)
