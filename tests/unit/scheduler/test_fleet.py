"""Leases and stalls: measured on the scheduler's own clock, since a heartbeat last changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.domain.tunings import Attempt
from app.log.workers import Control, Device, Heartbeat, Occupant, Slot
from app.scheduler.fleet import Fleet, LivingSlot

LEASE, STALL = 30.0, 600.0
CPU = Device("cpu", "a cpu", 8 * 1024**3)
ATTEMPT = Attempt(1, "w", "s1", 0)


def heartbeat(beat: int, occupant: Occupant | None = None, session: str = "s1") -> Heartbeat:
    return Heartbeat("w", session, beat, (Slot(0, CPU, occupant),))


def at_step(step: int, phase: str = "training") -> Occupant:
    return Occupant("job-1", 1, phase, step)


def fleet() -> Fleet:
    return Fleet(LEASE, STALL)


def test_a_slot_of_a_living_worker_is_free_until_something_is_on_it() -> None:
    workers = fleet()
    workers.hear(heartbeat(1), now=0)
    assert list(workers.living_slots(1)) == [LivingSlot("w", "s1", 0, CPU.memory)]
    workers.hear(heartbeat(2, at_step(1)), now=2)
    assert list(workers.living_slots(3)) == [LivingSlot("w", "s1", 0, CPU.memory, "job-1")]
    workers.hear(heartbeat(3, Occupant("job-1", 1, "saving", 1, 9.0)), now=4)
    assert list(workers.living_slots(7)) == [LivingSlot("w", "s1", 0, CPU.memory, "job-1", 6.0, saving=True)]


def test_a_silent_worker_offers_nothing_and_loses_its_attempt_when_the_lease_is_over() -> None:
    workers = fleet()
    workers.hear(heartbeat(1, at_step(1)), now=0)
    assert workers.lost("job-1", ATTEMPT, LEASE - 1) is None
    assert workers.lost("job-1", ATTEMPT, LEASE) == "worker_lost"
    workers.hear(heartbeat(2), now=100)
    assert list(workers.living_slots(100 + LEASE)) == []


def test_the_same_heartbeat_again_renews_nothing() -> None:
    workers = fleet()
    workers.hear(heartbeat(1, at_step(1)), now=0)
    workers.hear(heartbeat(1, at_step(1)), now=LEASE - 1)
    assert workers.lost("job-1", ATTEMPT, LEASE) == "worker_lost"


def test_a_step_that_stands_still_is_a_stall_however_often_the_worker_beats() -> None:
    workers = fleet()
    for second in range(0, int(STALL) + 1, 2):
        workers.hear(heartbeat(second + 1, at_step(7)), now=second)
    assert workers.lost("job-1", ATTEMPT, STALL - 1) is None
    assert workers.lost("job-1", ATTEMPT, STALL) == "stalled"


def test_a_model_that_takes_long_to_fetch_is_no_stall_as_long_as_it_comes() -> None:
    workers = fleet()
    for second in range(0, 3 * int(STALL), 2):
        fetching = Occupant(
            "job-1", ATTEMPT.number, "loading", detail=f"{min(second, 2 * STALL):g} MB fetched"
        )
        workers.hear(heartbeat(second + 1, fetching), now=second)
        assert workers.lost("job-1", ATTEMPT, second) is None
    assert workers.lost("job-1", ATTEMPT, 3 * STALL) == "stalled"


def test_another_step_or_another_phase_is_progress() -> None:
    workers = fleet()
    workers.hear(heartbeat(1, at_step(7)), now=0)
    workers.hear(heartbeat(2, at_step(7, "evaluating")), now=STALL - 1)
    assert workers.lost("job-1", ATTEMPT, STALL + 10) is None
    workers.hear(heartbeat(3, at_step(8, "evaluating")), now=STALL + 11)
    assert workers.lost("job-1", ATTEMPT, STALL + 20) is None


def test_the_attempts_of_a_former_life_are_lost_as_soon_as_the_worker_is_back() -> None:
    workers = fleet()
    workers.hear(heartbeat(1, at_step(3)), now=0)
    workers.hear(heartbeat(1, session="s2"), now=5)
    assert workers.lost("job-1", ATTEMPT, 5) is None
    assert workers.lost("job-1", ATTEMPT, 6.5) == "worker_lost"


def test_an_order_that_was_never_taken_is_lost_after_a_lease() -> None:
    workers = fleet()
    for beat in range(20):
        workers.hear(heartbeat(beat), now=beat * 2.0)
        lost = workers.lost("job-1", ATTEMPT, beat * 2.0)
        assert lost == ("order_declined" if beat * 2 > LEASE else None)


def test_an_attempt_on_a_worker_never_heard_of_is_lost_after_a_lease() -> None:
    workers = fleet()
    assert workers.lost("job-1", ATTEMPT, 0) is None
    assert workers.lost("job-1", ATTEMPT, LEASE) is None
    assert workers.lost("job-1", ATTEMPT, LEASE + 1) == "worker_lost"


def test_what_is_remembered_of_an_attempt_goes_with_it() -> None:
    workers = fleet()
    workers.lost("job-1", ATTEMPT, 0)
    workers.forget(live=set())
    assert workers.lost("job-1", ATTEMPT, LEASE + 1) is None  # counted anew


def test_a_draining_worker_gets_nothing_new() -> None:
    workers = fleet()
    workers.hear(Heartbeat("w", "s1", 1, (Slot(0, CPU),), draining=True), now=0)
    assert list(workers.living_slots(1)) == []


WALL = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_drained_worker_gets_nothing_new_and_hands_back_what_it_has_unless_that_may_finish() -> None:
    workers = fleet()
    workers.hear(heartbeat(1), now=0)
    for drain, hand_back in (("hand_back", ["w"]), ("finish", [])):
        workers.control(Control("w", drain), WALL)  # type: ignore[arg-type]
        assert (list(workers.living_slots(1)), workers.drained()) == ([], hand_back)
    workers.hear(heartbeat(1, session="s2"), now=1)
    assert list(workers.living_slots(1)) == []  # it is the operator's to end
    workers.control(Control("w"), WALL)
    assert len(list(workers.living_slots(1))) == 1
    assert workers.drained() == []


def test_a_worker_set_aside_gets_nothing_until_its_session_is_new() -> None:
    workers = fleet()
    workers.hear(heartbeat(1), now=0)
    aside = workers.set_aside(ATTEMPT, "it fails")
    workers.control(aside, WALL)
    assert list(workers.living_slots(1)) == []
    assert workers.corrections(WALL) == []
    workers.hear(heartbeat(1, session="s2"), now=2)
    assert len(list(workers.living_slots(2))) == 1
    assert workers.corrections(WALL) == [Control("w")]


def test_being_set_aside_leaves_a_drain_as_it_is_and_what_stands_for_long_is_told_again() -> None:
    workers = fleet()
    workers.control(Control("w", "finish"), WALL)
    both = workers.set_aside(ATTEMPT, "it fails")
    assert both == Control("w", "finish", "it fails", "s1")
    workers.control(both, WALL)
    assert workers.corrections(WALL + timedelta(hours=23)) == []
    assert workers.corrections(WALL + timedelta(hours=25)) == [both]
