"""When the waiting will start: the plan gone through as slots become free, told no more often than needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.scheduler.forecast import BusySlot, as_told, forecast
from app.scheduler.planner import FreeSlot, Quota, Waiting, plan
from tests.unit.scheduler.test_planner import GIB, NOW, slot, tunings, waiting
from tests.unit.scheduler.test_planner import slots as free_slots


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def busy(until: float | None, memory: int = 8 * GIB, account: str = "") -> BusySlot:
    return BusySlot(memory, account, None if until is None else after(until))


def test_those_behind_a_running_one_start_one_after_another() -> None:
    there = [waiting("first"), waiting("second", after=1), waiting("third", after=2)]
    found = forecast(there, [], [busy(100)], NOW, {}, {"first": 50, "second": 30, "third": 1})
    assert found == {"first": after(100), "second": after(150), "third": after(180)}


def test_a_higher_priority_goes_first_and_two_slots_take_turns() -> None:
    there = [waiting("plain"), waiting("urgent", after=5, priority=1), waiting("last", after=9)]
    found = forecast(there, [], [busy(10), busy(40)], NOW, {}, {"urgent": 100, "plain": 5, "last": 5})
    assert found == {"urgent": after(10), "plain": after(40), "last": after(45)}


def test_a_tuning_that_fits_only_the_large_device_waits_for_that_one() -> None:
    there = [waiting("big", memory=40 * GIB), waiting("small", after=1)]
    found = forecast(there, [], [busy(10), busy(500, 80 * GIB)], NOW, {}, {})
    assert found == {"small": after(10), "big": after(500)}
    assert forecast(there[:1], [], [busy(10)], NOW, {}, {}) == {}  # it fits nowhere that is heard of


def test_nothing_is_said_of_what_waits_for_something_unknown() -> None:
    there = [waiting("first"), waiting("second", after=1)]
    assert forecast(there, [], [], NOW, {}, {}) == {}
    assert forecast(there, [], [busy(None)], NOW, {}, {"first": 5}) == {}
    # How long the first one takes is not known, so the second waits for the other slot.
    assert forecast(there, [], [busy(10), busy(60)], NOW, {}, {}) == {"first": after(10), "second": after(60)}
    assert forecast(there, [], [busy(10)], NOW, {}, {}) == {"first": after(10)}


def test_an_account_without_room_waits_for_its_own_and_is_passed_meanwhile() -> None:
    there = [waiting("mine", account="a"), waiting("other", after=1, account="b")]
    running = [busy(10, account="b"), busy(70, account="a")]
    found = forecast(there, [], running, NOW, {"a": Quota(room=0), "b": Quota(room=None)}, {"other": 500})
    assert found == {"other": after(10), "mine": after(70)}


def test_a_suspended_accounts_are_not_counted_but_for_what_has_started() -> None:
    there = [waiting("held", account="a"), waiting("started", after=1, account="a", started=True)]
    assert forecast(there, [slot(0)], [], NOW, {"a": Quota(suspended=True)}, {}) == {"started": NOW}


def test_a_tuning_that_waits_out_its_delay_starts_after_it() -> None:
    there = [waiting("delayed", not_before=after(30)), waiting("next", after=1)]
    found = forecast(there, [slot(0)], [], NOW, {}, {"next": 10})
    assert found == {"next": NOW, "delayed": after(30)}
    assert forecast(there, [slot(0)], [], NOW, {}, {"next": 60}) == {"next": NOW, "delayed": after(60)}


accounts = st.sampled_from("ab")


@given(
    st.lists(st.tuples(accounts, st.none() | st.integers(1, 40)), max_size=12),
    tunings,
    free_slots,
    st.lists(st.tuples(st.integers(0, 10), accounts, st.integers(0, 60)), max_size=4),
    st.dictionaries(accounts, st.integers(0, 3)),
)
def test_it_says_what_planning_at_each_moment_would_do(
    given_to: list[tuple[str, int | None]],
    drawn: list[Waiting],
    free: list[FreeSlot],
    running: list[tuple[int, str, int]],
    limits: dict[str, int],
) -> None:
    there, seconds = [], {}
    for one, (account, takes) in zip(drawn, given_to, strict=False):
        there.append(_of(one, account))
        if takes is not None:
            seconds[one.tuning_id] = float(takes)
    held = [BusySlot(memory, account, after(until)) for memory, account, until in running]
    quotas = {account: Quota(room) for account, room in limits.items()}
    found = forecast(there, free, held, NOW, quotas, seconds)
    assert found == _planned_each_second(there, free, held, limits, seconds)


def _of(one: Waiting, account: str) -> Waiting:
    return Waiting(
        one.tuning_id, one.priority, one.created_at, one.memory, one.attempt, one.not_before, account
    )


def _planned_each_second(
    there: list[Waiting],
    free: list[FreeSlot],
    held: list[BusySlot],
    limits: dict[str, int],
    seconds: dict[str, float],
) -> dict[str, datetime]:
    rooms, found = dict(limits), {}
    slots = list(free)
    ends = [
        (one.until, FreeSlot("busy", "s", 100 + n, one.memory), one.account_id) for n, one in enumerate(held)
    ]
    for second in range(700):
        at = after(second)
        for end in [end for end in ends if end[0] is not None and end[0] <= at]:
            ends.remove(end)
            slots.append(end[1])
            if end[2] in rooms:
                rooms[end[2]] += 1
        made = plan(there, slots, at, {account: Quota(room) for account, room in rooms.items()})
        for one in made.assignments:
            found[one.tuning_id] = at
            slots.remove(one.slot)
            [started] = [other for other in there if other.tuning_id == one.tuning_id]
            there = [other for other in there if other is not started]
            if started.account_id in rooms:
                rooms[started.account_id] -= 1
            if (takes := seconds.get(started.tuning_id)) is not None:
                ends.append((at + timedelta(seconds=takes), one.slot, started.account_id))
    return found


def test_thousands_of_waiting_are_gone_through_quickly() -> None:
    there = [waiting(f"job-{n}", after=n, account=f"a{n % 50}", memory=GIB + n % 7) for n in range(5_000)]
    quotas = {f"a{n}": Quota(room=n % 3) for n in range(50)}
    seconds = {one.tuning_id: 60.0 for one in there}
    found = forecast(there, [], [busy(n, account=f"a{n}") for n in range(20)], NOW, quotas, seconds)
    assert len(found) > 3_000


def test_a_start_is_told_in_whole_steps_and_stands_until_it_has_moved_by_much() -> None:
    told = as_told(None, after(101.2), NOW)
    assert told == after(105)
    assert as_told(told, after(119), NOW) == told
    assert as_told(told, after(91), NOW) == told
    assert as_told(told, after(121), NOW) == after(125)
    assert as_told(after(3600), after(3900), NOW) == after(3600)  # five minutes are little of an hour
    assert as_told(after(3600), after(3961), NOW) == after(3965)
    assert as_told(after(5), after(40), after(40)) == after(40)  # it should have started by now
    assert as_told(told, None, NOW) is None
    assert as_told(None, datetime(2026, 11, 23, 12, tzinfo=UTC), NOW) == NOW
