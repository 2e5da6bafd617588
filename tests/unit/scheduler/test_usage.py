"""What accounts used lately, from the tunings' states alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from app.domain.decider import Recorded
from app.domain.tunings import TUNINGS, Attempt, AttemptLost, Cancelled, Dispatched, Resumed, Started, Tuning
from app.scheduler.usage import Usage
from tests.contract.examples import AT, CREATED

HALF_LIFE = 1000.0
ACCOUNT = CREATED.account_id


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def states(*events: tuple[float, object]) -> list[Tuning]:
    found: list[Tuning] = []
    state = None
    for version, (seconds, event) in enumerate([(0.0, CREATED), *events], 1):
        state = TUNINGS.evolve(state, event, Recorded("job-1", version, after(seconds)))
        found.append(state)
    return found


LIFE = states(
    (10, Dispatched(Attempt(1, "w", "s", 0))),
    (20, Started(1)),
    (110, AttemptLost(1, "preempted")),
    (150, Dispatched(Attempt(2, "w", "s", 0))),
    (200, Cancelled(2)),
)


def test_a_tunings_state_says_for_how_long_it_had_devices_and_since_when_it_waits() -> None:
    assert [one.device_seconds for one in LIFE] == [0, 0, 0, 100, 100, 150]
    assert [one.moved_at for one in LIFE[2:]] == [after(10), after(110), after(150), after(200)]
    assert LIFE[-1].lost_for == "preempted"
    [*_, resumed] = states((300, Resumed()))
    assert resumed.moved_at == after(300)


def test_who_starts_anew_knows_what_one_that_saw_it_all_knows() -> None:
    seen = Usage(HALF_LIFE)
    assert seen.used(ACCOUNT, after(0)) == 0
    for one in LIFE:
        seen.take(one)
    anew = Usage(HALF_LIFE)
    anew.take(LIFE[-1])
    for now in (200, 1200, 2200):
        used = seen.used(ACCOUNT, after(now))
        assert used == pytest.approx(150 * 0.5 ** ((now - 200) / HALF_LIFE), rel=0.1)
        assert anew.used(ACCOUNT, after(now)) == pytest.approx(used, rel=0.05)
    anew.take(LIFE[-1])  # told again, it counts once
    assert anew.used(ACCOUNT, after(200)) == pytest.approx(seen.used(ACCOUNT, after(200)), rel=0.05)


def test_what_runs_now_is_used_as_it_runs() -> None:
    usage = Usage(HALF_LIFE)
    usage.take(LIFE[2])
    assert usage.used(ACCOUNT, after(60)) == pytest.approx(50, rel=0.05)
    assert usage.used(ACCOUNT, after(1e6)) == pytest.approx(HALF_LIFE / 0.6931, rel=0.01)
