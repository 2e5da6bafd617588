"""When a call is tried again, and after how long: rules as data, and a helper for functions of your own."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import random as _random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, overload

from tunesmith._exceptions import APIConnectionError, TimeoutError

logger = logging.getLogger("tunesmith")

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class RetryRules:
    """Which answers are tried again and how long to wait before; all times in seconds.

    `attempts` counts all tries, the first one too. Jitter spreads a delay over half to one and a half of it.
    A `Retry-After` longer than `longest_retry_after` is left to the caller: the call fails at once.
    """

    attempts: int = 3
    statuses: frozenset[int] = frozenset({408, 429})
    server_errors: bool = True
    initial_delay: float = 1.0
    exponential_base: float = 2.0
    jitter: bool = True
    longest_delay: float = 30.0
    longest_retry_after: float = 120.0

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds to wait after the failed attempt number `attempt`, counted from 0."""
        exponent = min(attempt, 64)
        delay = min(self.initial_delay * self.exponential_base**exponent, self.longest_delay)
        return delay * (0.5 + random()) if self.jitter else delay

    def wait_after_answer(
        self, status: int, headers: Mapping[str, str], attempt: int, random: Callable[[], float], now: float
    ) -> float | None:
        """Seconds to wait before the call is tried again after this answer; None: not again.

        `x-should-retry` has the last word, `Retry-After` the first on the delay. `now` is in Unix seconds.
        """
        if attempt + 1 >= self.attempts:
            return None
        asked = headers.get("x-should-retry", "").strip().lower()
        retryable = status in self.statuses or (self.server_errors and status >= 500)
        if asked == "false" or (asked != "true" and not retryable):
            return None
        told = retry_after_seconds(headers, now)
        if told is None:
            return self.delay(attempt, random)
        return told if told <= self.longest_retry_after else None

    def wait_after_no_answer(self, attempt: int, random: Callable[[], float]) -> float | None:
        """Seconds to wait after a timeout or a broken connection; None: not again."""
        return None if attempt + 1 >= self.attempts else self.delay(attempt, random)


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """The answer's `Retry-After` in seconds, from a number or an HTTP date; None without a usable one."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


@overload
def retry_with_exponential_backoff(
    func: _F,
    max_retries: int = 3,
    initial_delay: float = 1.0,
    exponential_base: float = 2.0,
    jitter: bool = True,
    *,
    sleep: Callable[[float], Any] | None = None,
    random: Callable[[], float] = _random.random,
) -> _F: ...


@overload
def retry_with_exponential_backoff(
    func: None = None,
    max_retries: int = 3,
    initial_delay: float = 1.0,
    exponential_base: float = 2.0,
    jitter: bool = True,
    *,
    sleep: Callable[[float], Any] | None = None,
    random: Callable[[], float] = _random.random,
) -> Callable[[_F], _F]: ...


def retry_with_exponential_backoff(
    func: Callable[..., Any] | None = None,
    max_retries: int = 3,
    initial_delay: float = 1.0,
    exponential_base: float = 2.0,
    jitter: bool = True,
    *,
    sleep: Callable[[float], Any] | None = None,
    random: Callable[[], float] = _random.random,
) -> Any:
    """Try a function again when it raises `TimeoutError` or `APIConnectionError`.

    Works as a call, `retry_with_exponential_backoff(func)`, and as a decorator, with or without arguments, of
    functions and of coroutine functions alike. Other exceptions pass through at once, as does the last one.

    Args:
        func: The function to wrap; leave it out to get a decorator.
        max_retries: Number of tries in all, at least 1.
        initial_delay: Seconds to wait after the first failure.
        exponential_base: Each further wait is this many times the one before.
        jitter: Spread each wait over ×0.5 to ×1.5, so that many clients do not come back at once.
        sleep: What to wait with: `time.sleep`, or `asyncio.sleep` for a coroutine function.
        random: Numbers in [0, 1) for the jitter.
    """
    if func is None:
        return functools.partial(
            retry_with_exponential_backoff,
            max_retries=max_retries,
            initial_delay=initial_delay,
            exponential_base=exponential_base,
            jitter=jitter,
            sleep=sleep,
            random=random,
        )
    if max_retries < 1:
        raise ValueError(f"max_retries is {max_retries}: it counts all tries, so it must be at least 1")
    rules = RetryRules(
        attempts=max_retries,
        initial_delay=initial_delay,
        exponential_base=exponential_base,
        jitter=jitter,
        longest_delay=math.inf,
    )

    def wait_or_raise(error: Exception, attempt: int) -> float:
        delay = rules.wait_after_no_answer(attempt, random)
        if delay is None:
            raise error
        logger.info("retry %d/%d after %.2f s: %s", attempt + 1, max_retries, delay, error)
        return delay

    if inspect.iscoroutinefunction(func):
        pause = sleep or asyncio.sleep

        @functools.wraps(func)
        async def retried_coroutine(*args: Any, **kwargs: Any) -> Any:
            attempt = 0
            while True:
                try:
                    return await func(*args, **kwargs)
                except (TimeoutError, APIConnectionError) as error:
                    await pause(wait_or_raise(error, attempt))
                attempt += 1

        return retried_coroutine

    block = sleep or time.sleep

    @functools.wraps(func)
    def retried(*args: Any, **kwargs: Any) -> Any:
        attempt = 0
        while True:
            try:
                return func(*args, **kwargs)
            except (TimeoutError, APIConnectionError) as error:
                block(wait_or_raise(error, attempt))
            attempt += 1

    return retried
