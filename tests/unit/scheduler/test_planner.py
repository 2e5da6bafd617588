"""The plan as a function: priority, order of arrival, memory, and nobody starved or doubled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.scheduler.planner import FreeSlot, Quota, Waiting, plan

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GIB = 1024**3


def waiting(
    id: str,
    *,
    after: float = 0,
    priority: int = 0,
    memory: int = GIB,
    not_before: datetime | None = None,
    account: str = "",
    started: bool = False,
) -> Waiting:
    arrived = NOW + timedelta(seconds=after)
    return Waiting(id, priority, arrived, memory, 1, not_before, account, started)


def slot(index: int, memory: int = 8 * GIB, worker: str = "w") -> FreeSlot:
    return FreeSlot(worker, "s1", index, memory)


def test_who_came_first_starts_first_and_the_second_waits_with_its_place() -> None:
    made = plan([waiting("later", after=2), waiting("first")], [slot(0)], NOW)
    assert [(one.tuning_id, one.slot.index) for one in made.assignments] == [("first", 0)]
    assert made.places == {"later": 1}


def test_a_higher_priority_goes_before_an_earlier_arrival() -> None:
    made = plan([waiting("first"), waiting("urgent", after=5, priority=1)], [slot(0)], NOW)
    assert [one.tuning_id for one in made.assignments] == ["urgent"]
    assert made.places == {"first": 1}


def test_a_tuning_goes_only_where_its_memory_fits_and_does_not_hold_up_those_behind_it() -> None:
    made = plan([waiting("big", memory=80 * GIB), waiting("small", after=1)], [slot(0)], NOW)
    assert [one.tuning_id for one in made.assignments] == ["small"]
    assert made.places == {"big": 1}


def test_the_tightest_slot_that_fits_is_taken() -> None:
    made = plan([waiting("small")], [slot(0, 80 * GIB), slot(1, 8 * GIB)], NOW)
    assert made.assignments[0].slot.index == 1


def test_after_a_lost_attempt_a_tuning_waits_out_its_delay() -> None:
    delayed = waiting("delayed", not_before=NOW + timedelta(seconds=1))
    assert plan([delayed], [slot(0)], NOW).places == {"delayed": 1}
    assert plan([delayed], [slot(0)], NOW + timedelta(seconds=1)).assignments[0].tuning_id == "delayed"


def test_what_a_suspended_account_has_waiting_waits_without_a_place_and_holds_up_nobody() -> None:
    there = [waiting("held", account="a"), waiting("next", after=1, account="b"), waiting("last", after=2)]
    made = plan(there, [slot(0)], NOW, {"a": Quota(suspended=True)})
    assert [one.tuning_id for one in made.assignments] == ["next"]
    assert made.places == {"last": 1}


def test_what_a_suspended_account_has_started_goes_on() -> None:
    there = [waiting("lost its worker", account="a", started=True)]
    made = plan(there, [slot(0)], NOW, {"a": Quota(suspended=True)})
    assert [one.tuning_id for one in made.assignments] == ["lost its worker"]


def test_an_account_starts_no_more_than_it_has_room_for_and_others_pass_it() -> None:
    there = [waiting(f"a{number}", after=number, account="a") for number in range(3)]
    there.append(waiting("b", after=9, account="b"))
    made = plan(there, [slot(number) for number in range(4)], NOW, {"a": Quota(room=2), "b": Quota()})
    assert [one.tuning_id for one in made.assignments] == ["a0", "a1", "b"]
    assert made.places == {"a2": 1}
    full = plan(there[:3], [slot(0)], NOW, {"a": Quota(room=-1)})  # the limit was lowered meanwhile
    assert (full.assignments, list(full.places)) == ((), ["a0", "a1", "a2"])


tunings = st.lists(
    st.builds(
        Waiting,
        tuning_id=st.uuids().map(str),
        priority=st.integers(-2, 2),
        created_at=st.integers(0, 50).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        memory=st.integers(0, 10),
        attempt=st.integers(1, 4),
        not_before=st.none() | st.integers(-5, 5).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    ),
    max_size=12,
    unique_by=lambda one: one.tuning_id,
)
slots = st.lists(
    st.builds(
        FreeSlot,
        worker=st.sampled_from("abc"),
        session=st.just("s"),
        index=st.integers(0, 3),
        memory=st.integers(0, 10),
    ),
    max_size=6,
    unique_by=lambda one: (one.worker, one.index),
)


@given(tunings, slots)
def test_every_tuning_starts_or_has_a_place_and_no_slot_is_given_twice(
    waiting: list[Waiting], free: list[FreeSlot]
) -> None:
    made = plan(waiting, free, NOW)
    started = [one.tuning_id for one in made.assignments]
    assert sorted(started + list(made.places)) == sorted(one.tuning_id for one in waiting)
    assert sorted(made.places.values()) == list(range(1, len(made.places) + 1))
    given_away = [one.slot for one in made.assignments]
    assert len(set(given_away)) == len(given_away)
    assert set(given_away) <= set(free)
    memory = {one.tuning_id: one.memory for one in waiting}
    assert all(memory[one.tuning_id] <= one.slot.memory for one in made.assignments)


@given(tunings, slots)
def test_nobody_waits_while_a_slot_that_fits_stays_free(waiting: list[Waiting], free: list[FreeSlot]) -> None:
    made = plan(waiting, free, NOW)
    left = set(free) - {one.slot for one in made.assignments}
    for one in waiting:
        if one.tuning_id in made.places and (one.not_before is None or one.not_before <= NOW):
            assert not any(slot.memory >= one.memory for slot in left)


@given(tunings, slots, st.randoms(use_true_random=False))
def test_the_order_in_which_things_were_heard_decides_nothing(
    waiting: list[Waiting], free: list[FreeSlot], random: object
) -> None:
    shuffled, moved = list(waiting), list(free)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(moved)  # type: ignore[attr-defined]
    assert plan(shuffled, moved, NOW) == plan(waiting, free, NOW)
