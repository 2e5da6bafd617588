"""When the waiting will start: the plan gone through as slots become free, told no more often than needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.scheduler.forecast import as_told, forecast
from app.scheduler.queueing import FreeSlot, Rules, Running, Standing, Waiting, spared_until
from tests.unit.scheduler.playing import Fleet
from tests.unit.scheduler.test_planner import GIB, NOW, slot, tunings, waiting
from tests.unit.scheduler.test_planner import slots as free_slots


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def busy(
    until: float | None, memory: int = 8 * GIB, account: str = "", priority: int = 99, attempt: int = 1
) -> Running:
    since = after(-850)
    of = Waiting(f"busy-{until}-{memory}-{account}", priority, since, 1, attempt + 1, None, account, True)
    ends = None if until is None else after(until)
    return Running(memory, since, of, ends, spared_until=spared_until(attempt, since))


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
    found = forecast(
        there, [], running, NOW, {"a": Standing(room=0), "b": Standing(room=None)}, {"other": 500}
    )
    assert found == {"other": after(10), "mine": after(70)}


def test_a_suspended_accounts_are_not_counted_but_for_what_has_started() -> None:
    there = [waiting("held", account="a"), waiting("started", after=1, account="a", started=True)]
    assert forecast(there, [slot(0)], [], NOW, {"a": Standing(suspended=True)}, {}) == {"started": NOW}


def test_a_tuning_that_waits_out_its_delay_starts_after_it() -> None:
    there = [waiting("delayed", not_before=after(30)), waiting("next", after=1)]
    found = forecast(there, [slot(0)], [], NOW, {}, {"next": 10})
    assert found == {"next": NOW, "delayed": after(30)}
    assert forecast(there, [slot(0)], [], NOW, {}, {"next": 60}) == {"next": NOW, "delayed": after(60)}


def test_an_account_that_used_more_waits_longer_and_what_it_used_decays() -> None:
    there = [waiting(f"a{n}", after=n, account="a") for n in range(2)]
    there += [waiting(f"b{n}", after=5 + n, account="b") for n in range(3)]
    standings = {"a": Standing(used=7200.0), "b": Standing(used=0.0, held=1)}
    found = forecast(
        there, [], [busy(10, account="b")], NOW, standings, dict.fromkeys("a0 a1 b0 b1 b2".split(), 3600)
    )
    assert sorted(found, key=lambda id: found[id]) == ["b0", "b1", "a0", "b2", "a1"]


def test_one_whose_patience_will_be_over_goes_first_then() -> None:
    rules = Rules(patience=timedelta(seconds=100))
    there = [
        waiting("old", account="a"),
        *(waiting(f"urgent-{n}", priority=1, account="b") for n in range(4)),
    ]
    seconds = {f"urgent-{n}": 60.0 for n in range(4)}
    found = forecast(there, [slot(0)], [], NOW, {}, seconds, rules)
    assert found["old"] == after(120)


def test_one_that_preempts_starts_when_the_slot_is_given_back_and_who_gave_it_goes_on_later() -> None:
    there = [waiting("urgent", priority=5, account="a"), waiting("plain", after=1, account="b")]
    low = busy(500, priority=0, account="c")
    found = forecast(there, [], [low], NOW, {"c": Standing(held=1, used=90_000)}, {"urgent": 100, "plain": 7})
    # The preempted one used so much that the other is before it.
    assert found == {"urgent": after(10), "plain": after(110)}
    calm = forecast(
        there, [], [low], NOW, {"c": Standing(held=1)}, {"urgent": 100, "plain": 7}, Rules(margin=0)
    )
    assert calm == {"urgent": after(500), "plain": after(600)}


HORIZON = 120  # seconds
accounts = st.sampled_from("ab")


@settings(deadline=None)
@given(
    st.lists(st.tuples(accounts, st.none() | st.integers(1, 40)), max_size=12),
    tunings,
    free_slots.map(lambda slots: slots[:2]),
    st.lists(
        st.tuples(
            st.integers(0, 10),
            accounts,
            st.none() | st.integers(0, 90),
            st.integers(-3, 1),
            st.integers(1, 2),
        ),
        max_size=4,
    ),
    st.dictionaries(
        accounts,
        st.builds(Standing, room=st.none() | st.integers(0, 3), used=st.floats(0, 5000)),
    ),
    st.builds(
        Rules,
        half_life=st.sampled_from([30.0, 86_400.0]),
        patience=st.sampled_from([20, 86_400]).map(lambda seconds: timedelta(seconds=seconds)),
        margin=st.integers(0, 2),
    ),
)
def test_it_says_what_planning_at_each_moment_would_do(
    given_to: list[tuple[str, int | None]],
    drawn: list[Waiting],
    free: list[FreeSlot],
    running: list[tuple[int, str, int | None, int, int]],
    standings: dict[str, Standing],
    rules: Rules,
) -> None:
    there, seconds = [], {}
    for one, (account, takes) in zip(drawn, given_to, strict=False):
        there.append(replace(one, account_id=account))
        if takes is not None:
            seconds[one.tuning_id] = float(takes)
    held = []
    for number, (memory, account, until, priority, attempt) in enumerate(running):
        there_already = busy(until, memory, account, priority, attempt)
        assert there_already.tuning is not None
        named = replace(there_already.tuning, tuning_id=f"running-{number}")
        held.append(replace(there_already, tuning=named))
        before = standings.get(account, Standing())
        standings[account] = replace(before, held=before.held + 1)
    found = forecast(there, free, held, NOW, standings, seconds, rules)
    fleet = Fleet(free, rules, seconds, standings)
    fleet.waiting = list(there)
    fleet.held = {FreeSlot("busy", "s", 100 + n, taken.memory): taken for n, taken in enumerate(held)}
    played: dict[str, datetime] = {}
    for second in range(HORIZON):
        for started in fleet.step(after(second)):
            played.setdefault(started.tuning_id, after(second))
    assert {id: at for id, at in found.items() if at < after(HORIZON)} == {
        id: at for id, at in played.items() if not id.startswith("running-")
    }


def test_thousands_of_waiting_are_gone_through_quickly() -> None:
    there = [waiting(f"job-{n}", after=n, account=f"a{n % 50}", memory=GIB + n % 7) for n in range(5_000)]
    quotas = {f"a{n}": Standing(room=n % 3) for n in range(50)}
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
