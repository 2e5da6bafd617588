"""The plan as a function: priority, order of arrival, memory, and nobody starved or doubled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.scheduler.planner import Plan, plan
from app.scheduler.queueing import FreeSlot, Rules, Running, Standing, Waiting, spared_until
from tests.unit.scheduler.playing import Fleet

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
    since: datetime | None = None,
) -> Waiting:
    arrived = NOW + timedelta(seconds=after)
    return Waiting(id, priority, arrived, memory, 1, not_before, account, started, since)


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
    made = plan(there, [slot(0)], NOW, {"a": Standing(suspended=True)})
    assert [one.tuning_id for one in made.assignments] == ["next"]
    assert made.places == {"last": 1}


def test_what_a_suspended_account_has_started_goes_on() -> None:
    there = [waiting("lost its worker", account="a", started=True)]
    made = plan(there, [slot(0)], NOW, {"a": Standing(suspended=True)})
    assert [one.tuning_id for one in made.assignments] == ["lost its worker"]


def test_an_account_starts_no_more_than_it_has_room_for_and_others_pass_it() -> None:
    there = [waiting(f"a{number}", after=number, account="a") for number in range(3)]
    there.append(waiting("b", after=9, account="b"))
    made = plan(there, [slot(number) for number in range(4)], NOW, {"a": Standing(room=2), "b": Standing()})
    assert [one.tuning_id for one in made.assignments] == ["a0", "b", "a1"]
    assert made.places == {"a2": 1}
    full = plan(there[:3], [slot(0)], NOW, {"a": Standing(room=-1)})  # the limit was lowered meanwhile
    assert (full.assignments, list(full.places)) == ((), ["a0", "a1", "a2"])


def started(made: Plan) -> list[str]:
    return [one.tuning_id for one in made.assignments]


def test_of_one_priority_the_account_goes_first_that_used_less() -> None:
    there = [waiting("heavy", account="a"), waiting("light", after=5, account="b")]
    used = {"a": Standing(used=3600.0), "b": Standing(used=60.0)}
    assert started(plan(there, [slot(0)], NOW, used)) == ["light"]
    above = [waiting("urgent", account="a", priority=1), *there]
    assert started(plan(above, [slot(0)], NOW, used)) == ["urgent"]
    equal = {"a": Standing(used=60.0), "b": Standing(used=60.0)}
    assert started(plan(there, [slot(0)], NOW, equal)) == ["heavy"]  # who came first


def test_accounts_alike_take_turns_and_places_tell_of_it() -> None:
    there = [waiting(f"a{n}", after=n, account="a") for n in range(4)]
    there += [waiting(f"b{n}", after=10 + n, account="b") for n in range(2)]
    made = plan(there, [slot(0), slot(1)], NOW)
    assert started(made) == ["a0", "b0"]
    assert list(made.places) == ["a1", "b1", "a2", "a3"]
    # What an account holds already counts as well.
    held = plan(there, [slot(0), slot(1)], NOW, {"a": Standing(held=3)})
    assert started(held) == ["b0", "b1"]


def test_an_accounts_longest_waiting_goes_before_all_others_when_its_patience_is_over() -> None:
    rules = Rules(patience=timedelta(hours=1))
    there = [
        waiting("old", account="a", priority=-5),
        waiting("older still", after=1, account="a", priority=-5),
    ]
    there += [waiting("urgent", after=3000, account="b", priority=9)]
    for after, first in ((3599, "urgent"), (3600, "old")):
        made = plan(there, [slot(0)], NOW + timedelta(seconds=after), rules=rules)
        assert started(made) == [first]
    assert made.assignments[0].longest
    assert list(made.places) == ["urgent", "older still"]
    # The next one's patience begins when the one before it started.
    passed = {"a": Standing(passed_on=NOW + timedelta(seconds=3600))}
    there = [there[1], waiting("urgent", after=7000, account="b", priority=9)]
    for after, first in ((7199, "urgent"), (7200, "older still")):
        made = plan(there, [slot(0)], NOW + timedelta(seconds=after), passed, rules=rules)
        assert started(made) == [first]


def test_what_fits_no_device_that_there_is_holds_up_nobody_elses_patience() -> None:
    rules = Rules(patience=timedelta(hours=1))
    there = [waiting("huge", account="a", memory=90 * GIB), waiting("old", after=1, account="a")]
    there += [waiting("urgent", after=3600, account="b", priority=9)]
    made = plan(there, [slot(0)], NOW + timedelta(seconds=3601), rules=rules)
    assert started(made) == ["old"]


def held(id: str, *, priority: int = 0, memory: int = 8 * GIB, ran: float = 100, attempt: int = 1) -> Running:
    since = NOW - timedelta(seconds=ran)
    of = Waiting(id, priority, since, GIB, attempt + 1, started=True)
    return Running(memory, since, of, spared_until=spared_until(attempt, since))


def preempted(there: list[Waiting], running: list[Running], margin: int = 1, **more: Standing) -> list[str]:
    made = plan(there, [], NOW, more, running, Rules(margin=margin))
    return [one.tuning.tuning_id for one in made.preempted if one.tuning is not None]


def test_the_lowest_priority_that_ran_least_gives_its_slot_back() -> None:
    running = [held("high", priority=2), held("long", ran=500), held("short", ran=70), held("tiny", memory=1)]
    urgent = waiting("urgent", priority=3)
    assert preempted([urgent], running) == ["short"]
    assert preempted([urgent, waiting("too", priority=3)], running) == ["short", "long"]
    assert preempted([urgent], running, margin=0) == []
    assert preempted([urgent], running, margin=4) == []
    assert preempted([waiting("alike", priority=0)], running) == []
    assert preempted([waiting("big", priority=9, memory=9 * GIB)], running) == []


def test_nobody_is_preempted_for_one_who_can_have_a_slot_anyway_or_may_not_have_it() -> None:
    running = [held("low"), held("low too")]
    urgent = waiting("urgent", priority=3, account="a")
    soon = replace(held("through"), until=NOW + timedelta(seconds=30))
    assert preempted([urgent], [*running, soon]) == []
    assert preempted([urgent], [*running, replace(held("leaves"), leaving=True)]) == []
    assert preempted([urgent], [*running, Running(8 * GIB, NOW)]) == []  # its tuning has ended
    assert preempted([urgent], running, a=Standing(room=0)) == []
    assert preempted([urgent], running, a=Standing(suspended=True)) == []
    assert preempted([replace(urgent, not_before=NOW + timedelta(seconds=1))], running) == []
    assert plan([urgent], [slot(0)], NOW, {}, running).preempted == ()


def test_an_attempt_after_a_lost_one_is_spared_for_a_while() -> None:
    urgent = waiting("urgent", priority=3)
    assert preempted([urgent], [held("again", attempt=2)]) == []
    assert preempted([urgent], [held("again", attempt=2, ran=901)]) == ["again"]


def test_nobody_is_preempted_when_somebody_else_would_take_the_slot() -> None:
    due = waiting("due", after=-100_000, account="a")
    urgent = waiting("urgent", priority=3, account="b")
    assert preempted([due, urgent], [held("low")]) == []
    big = replace(due, memory=20 * GIB)  # it takes nothing of what the urgent one could have
    assert preempted([big, urgent], [held("low"), held("large", memory=24 * GIB)]) == ["low"]
    assert preempted([big, urgent], [held("large", memory=24 * GIB)]) == []


tunings = st.lists(
    st.builds(
        Waiting,
        tuning_id=st.uuids().map(str),
        priority=st.integers(-2, 2),
        created_at=st.integers(0, 50).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        memory=st.integers(0, 10),
        attempt=st.integers(1, 4),
        not_before=st.none() | st.integers(-5, 5).map(lambda seconds: NOW + timedelta(seconds=seconds)),
        account_id=st.sampled_from("abc"),
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


PATIENCE = 7
jobs = st.builds(
    Waiting,
    tuning_id=st.uuids().map(str),
    priority=st.integers(-2, 2),
    created_at=st.integers(0, 40).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    memory=st.integers(1, 3),
    attempt=st.just(1),
    account_id=st.sampled_from("abcd"),
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(jobs, st.integers(1, 6)), min_size=1, max_size=20, unique_by=lambda one: one[0].tuning_id
    ),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(0, 1),
)
def test_once_due_nobody_sees_more_than_one_of_each_other_account_start_before(
    drawn: list[tuple[Waiting, int]], memories: list[int], margin: int
) -> None:
    """Among accounts that flood the fleet without end, at a higher priority, for any devices."""
    fleet = Fleet(
        [slot(index, memory) for index, memory in enumerate(memories)],
        Rules(patience=timedelta(seconds=PATIENCE), margin=margin),
        {one.tuning_id: takes for one, takes in drawn}
        | {f"flood-{account}-{second}": 2 for account in "xy" for second in range(200)},
    )
    accounts = {one.account_id for one, _ in drawn} | {"x", "y"}
    longest: dict[str, tuple[str, int]] = {}  # of each account, and since when
    overtook: dict[str, set[str]] = {}
    for second in range(200):
        at = NOW + timedelta(seconds=second)
        fleet.waiting += [one for one, _ in drawn if one.created_at == at]
        fleet.waiting += [
            Waiting(f"flood-{account}-{second}", 9, at, 1 + second % 3, 1, account_id=account)
            for account in "xy"
        ]
        there = {one.tuning_id: one for one in fleet.waiting}
        for given_to in fleet.step(at):
            started = there[given_to.tuning_id]
            for account, (id, since) in longest.items():
                waits = there.get(id)
                if waits is None or id == started.tuning_id or second - since < PATIENCE:
                    continue
                if given_to.slot.memory >= waits.memory and id in {one.tuning_id for one in fleet.waiting}:
                    assert started.account_id not in overtook.setdefault(id, set())
                    assert started.account_id != account
                    overtook[id].add(started.account_id)
        for account in accounts:
            own = [one for one in fleet.waiting if one.account_id == account and one.memory <= max(memories)]
            first = min(own, key=lambda one: (one.since or one.created_at, one.tuning_id), default=None)
            if first is None:
                longest.pop(account, None)
            elif account not in longest or longest[account][0] != first.tuning_id:
                longest[account] = (first.tuning_id, second)
    never = {one.tuning_id for one in fleet.waiting if not one.started and one.memory <= max(memories)}
    assert not never & {one.tuning_id for one, _ in drawn}


def test_without_patience_the_flood_would_be_for_ever() -> None:
    fleet = Fleet([slot(0, 1)], Rules(patience=timedelta(days=1)), {f"flood-{n}": 2 for n in range(99)})
    fleet.waiting = [Waiting("starved", 0, NOW, 1, 1, account_id="a")]
    for second in range(99):
        at = NOW + timedelta(seconds=second)
        fleet.waiting.append(Waiting(f"flood-{second}", 9, at, 1, 1, account_id="x"))
        fleet.step(at)
    assert "starved" in {one.tuning_id for one in fleet.waiting}
