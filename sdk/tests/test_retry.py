"""When a call is tried again and after how long; and the helper for functions of one's own."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest

from tunesmith import APIConnectionError, AuthenticationError, TimeoutError, retry_with_exponential_backoff
from tunesmith._retry import RetryRules, retry_after_seconds

NOW = 1_700_000_000.0


def middle() -> float:
    return 0.5


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (408, {}, 1.0),
        (429, {}, 1.0),
        (500, {}, 1.0),
        (502, {}, 1.0),
        (503, {}, 1.0),
        (400, {}, None),
        (401, {}, None),
        (404, {}, None),
        (409, {}, None),
        (503, {"x-should-retry": "false"}, None),
        (409, {"x-should-retry": "true"}, 1.0),
        (503, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "0"}, 0.0),
        (429, {"retry-after": "0.25"}, 0.25),
        (429, {"retry-after": "600"}, None),
        (429, {"retry-after": "soon"}, 1.0),
        (429, {"retry-after": "nan"}, 1.0),
        (400, {"retry-after": "1"}, None),
    ],
)
def test_an_answer_decides_whether_and_when_to_try_again(
    status: int, headers: dict[str, str], expected: float | None
) -> None:
    assert RetryRules(attempts=3).wait_after_answer(status, headers, 0, middle, NOW) == expected


def test_the_last_try_is_not_followed_by_another() -> None:
    rules = RetryRules(attempts=2)
    assert rules.wait_after_answer(503, {}, 0, middle, NOW) == 1.0
    assert rules.wait_after_answer(503, {"x-should-retry": "true"}, 1, middle, NOW) is None
    assert rules.wait_after_no_answer(1, middle) is None


def test_delays_double_are_spread_by_half_and_stop_growing() -> None:
    rules = RetryRules(attempts=99)
    assert [rules.delay(attempt, middle) for attempt in range(4)] == [1, 2, 4, 8]
    assert [rules.delay(1, lambda: 0.0), rules.delay(1, lambda: 0.999999)] == [
        1.0,
        pytest.approx(3.0, abs=1e-5),
    ]
    assert rules.delay(10_000, middle) == rules.longest_delay


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after_seconds({"retry-after": formatdate(NOW + 9, usegmt=True)}, NOW) == 9
    assert retry_after_seconds({"retry-after": formatdate(NOW - 9, usegmt=True)}, NOW) == 0
    assert retry_after_seconds({"retry-after": "-4"}, NOW) == 0
    assert retry_after_seconds({}, NOW) is None
    assert retry_after_seconds({"retry-after": "Thu, 99 Foo 2020"}, NOW) is None


class Failing:
    """Fails with the given errors in turn, then gives what it was called with."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, value: str = "done") -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return value


def test_a_function_is_tried_again_on_timeouts_and_broken_connections() -> None:
    failing, sleeps = Failing(TimeoutError("late"), APIConnectionError("cut")), list[float]()
    retried = retry_with_exponential_backoff(failing, sleep=sleeps.append, random=middle)
    assert retried("value") == "value"
    assert (failing.calls, sleeps) == (3, [1.0, 2.0])


def test_jitter_spreads_from_half_to_one_and_a_half_and_can_be_left_out() -> None:
    for random, jitter, expected in [
        (lambda: 0.0, True, [0.5, 1.0]),
        (lambda: 1.0, True, [1.5, 3.0]),
        (lambda: 0.0, False, [1, 2]),
    ]:
        sleeps: list[float] = []
        failing = Failing(TimeoutError(), TimeoutError())
        retry_with_exponential_backoff(failing, jitter=jitter, sleep=sleeps.append, random=random)()
        assert sleeps == expected


def test_it_decorates_with_arguments_and_keeps_the_functions_name() -> None:
    failing, sleeps = Failing(*[TimeoutError("late")] * 3), list[float]()

    @retry_with_exponential_backoff(
        max_retries=4, initial_delay=0.1, exponential_base=3.0, sleep=sleeps.append, random=middle
    )
    def fetch() -> str:
        """Fetch it."""
        return failing()

    assert fetch() == "done"
    assert sleeps == pytest.approx([0.1, 0.3, 0.9])
    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch it.")


def test_the_last_error_comes_through_and_other_errors_at_once() -> None:
    failing, sleeps = Failing(*[TimeoutError("late")] * 9), list[float]()
    with pytest.raises(TimeoutError, match="late"):
        retry_with_exponential_backoff(failing, max_retries=3, sleep=sleeps.append)()
    assert (failing.calls, len(sleeps)) == (3, 2)
    refused = Failing(AuthenticationError("no"))
    with pytest.raises(AuthenticationError):
        retry_with_exponential_backoff(refused, sleep=sleeps.append)()
    assert refused.calls == 1


def test_a_coroutine_function_is_awaited_and_tried_again() -> None:
    failing, sleeps = Failing(APIConnectionError("cut")), list[float]()

    async def pause(seconds: float) -> None:
        sleeps.append(seconds)

    @retry_with_exponential_backoff(sleep=pause, random=middle)
    async def fetch(value: str) -> str:
        return failing(value)

    assert asyncio.run(fetch("value")) == "value"
    assert sleeps == [1.0]


def test_fewer_than_one_try_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        retry_with_exponential_backoff(Failing(), max_retries=0)
