"""When a delivery is tried again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from app.reactors.retrying import ONCE, THREE_DAYS, next_try, retry_after

BEGUN = datetime(2026, 11, 24, 12, tzinfo=UTC)


def tries(chance: float, asked: float | None = None) -> list[datetime]:
    """The times of all tries of a delivery that never gets through, each of them taking ten seconds."""
    at = [BEGUN]
    while True:
        again = next_try(THREE_DAYS, len(at), BEGUN, at[-1] + timedelta(seconds=10), asked, chance)
        if again is None:
            return at
        at.append(again)


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_it_is_tried_at_longer_and_longer_intervals_for_three_days_to_the_second(chance: float) -> None:
    at = tries(chance)
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(at)]
    assert waits[:-1] == sorted(waits[:-1])
    assert waits[0] == 10 + 5 * (0.8 + 0.4 * chance)
    assert at[-1] - BEGUN == timedelta(days=3)
    assert 15 < len(at) < 22


def test_retry_after_makes_a_wait_longer_never_shorter_and_not_for_ever() -> None:
    def wait(asked: float) -> float:
        again = next_try(THREE_DAYS, 3, BEGUN, BEGUN, asked, 0.5)
        assert again is not None
        return (again - BEGUN).total_seconds()

    assert wait(0) == 120
    assert wait(600) == 600
    assert wait(10**9) == 24 * 3600
    assert tries(0.5, asked=10.0**9)[-1] - BEGUN == timedelta(days=3)


def test_what_is_sent_once_is_not_tried_again() -> None:
    assert next_try(ONCE, 1, BEGUN, BEGUN, None, 0.5) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("Tue, 24 Nov 2026 12:01:00 GMT", 60),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("9" * 400, 999_999_999),
        ("²", None),
    ],
)
def test_retry_after_is_read_as_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, BEGUN) == seconds
