"""When a worker is set aside: different tunings, one after another, that ended there alike."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.domain.decider import fold
from app.domain.tunings import TUNINGS, Attempt, Failure, Tuning
from app.scheduler.failing import Failing
from tests.contract import examples

ATTEMPT = Attempt(1, "w", "s1", 0)
HISTORY = [(event.body, event.recorded) for _, event in examples._life(*examples.LIVES["succeeds"])[:1]]


def tuning(id: str, *, lost_for: str | None = None, code: str = "", blame: str = "platform") -> Tuning:
    found: Tuning = fold(TUNINGS, HISTORY)
    failure = Failure(code, blame, "it failed") if code else None  # type: ignore[arg-type]
    status = "failed" if code else "running"
    return replace(found, id=id, lost_for=lost_for, failure=failure, status=status)


@pytest.mark.parametrize("ends", [{"lost_for": "child_died"}, {"code": "model_unreadable"}])
def test_three_tunings_in_a_row_that_end_alike_set_a_worker_aside(ends: dict[str, str]) -> None:
    failing = Failing()
    assert [failing.take(ATTEMPT, tuning(f"job-{n}", **ends)) is not None for n in range(4)] == [
        False,
        False,
        True,
        False,  # counted anew
    ]


def test_neither_one_tuning_again_and_again_nor_others_between_nor_another_session_count() -> None:
    failing = Failing()
    assert not any(failing.take(ATTEMPT, tuning("job-1", lost_for="child_died")) for _ in range(5))
    assert failing.take(ATTEMPT, tuning("job-2", lost_for="child_died")) is None
    assert failing.take(ATTEMPT, tuning("job-3", lost_for="stalled")) is None
    assert failing.take(ATTEMPT, tuning("job-4", lost_for="child_died")) is None
    assert failing.take(ATTEMPT, tuning("job-5", lost_for="child_died")) is None
    assert failing.take(replace(ATTEMPT, session="s2"), tuning("job-6", lost_for="child_died")) is None


@pytest.mark.parametrize(
    "ends",
    [
        {"lost_for": "preempted"},
        {"lost_for": "worker_lost"},
        {"code": "bad_rows", "blame": "user"},
        {"code": "file_unusable"},
    ],
)
def test_what_is_no_fault_of_the_worker_does_not_count(ends: dict[str, str]) -> None:
    failing = Failing()
    assert not any(failing.take(ATTEMPT, tuning(f"job-{n}", **ends)) for n in range(5))
