"""What long waits share: how much trouble they bear, and what is new since the last look."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tunesmith._exceptions import APIConnectionError, APIError, RateLimitError, ServerError, TimeoutError
from tunesmith._models import StepMetric

PATIENCE_SECONDS = 120.0


class Patience:
    """How long failed looks are borne, once one has succeeded: a restart of the service ends no wait."""

    def __init__(self, seconds: float = PATIENCE_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._answered_at: float | None = None

    def answered(self) -> None:
        """A look succeeded."""
        self._answered_at = self._now()

    def bears(self, error: APIError) -> bool:
        """Whether to look again after this error."""
        passing = isinstance(error, (APIConnectionError, TimeoutError, ServerError, RateLimitError))
        return passing and self._answered_at is not None and self._now() - self._answered_at < self._seconds


class Deadline:
    """When a wait has lasted long enough; never, for a timeout of None."""

    def __init__(self, seconds: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._now = now
        self._began = now()

    def within(self, pause: float) -> float:
        """`pause`, or what is left of the time if that is less; 0 when it is over."""
        if self.seconds is None:
            return pause
        return max(0.0, min(pause, self.seconds - (self._now() - self._began)))

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.seconds is not None and self._now() - self._began >= self.seconds


class Curve:
    """The steps seen so far, so that each is told once; what a later attempt does again is told again.

    So is a step with its evaluation, which is made after it.
    """

    def __init__(self, after_step: int = 0) -> None:
        self._last = (after_step, True)  # and whether it was told with its evaluation
        self._attempt = 0
        self._told_from = 0

    @property
    def last_step(self) -> int:
        """The last step told."""
        return self._last[0]

    @property
    def after_step(self) -> int:
        """Behind which step to look: the last one may have been evaluated meanwhile."""
        step, evaluated = self._last
        return step if evaluated else step - 1

    def restarted(self, attempt: int | None, rows: list[StepMetric]) -> bool:
        """Whether a later attempt has begun: its steps may lie before the last one told, and none is now."""
        newest = max([attempt or 0, *(row.attempt or 0 for row in rows)])
        if self._attempt == 0 or newest <= self._attempt:
            self._attempt = max(newest, self._attempt)
            return False
        self._attempt = self._told_from = newest
        self._last = (0, True)
        return True

    def is_of_later_attempt(self, row: StepMetric) -> bool:
        """Whether this step is of a later attempt than the last one seen."""
        return (row.attempt or 0) > self._attempt

    def new(self, rows: list[StepMetric]) -> list[StepMetric]:
        """The rows not told yet, which then are."""
        fresh = [
            row
            for row in rows
            if (row.step, row.eval_loss is not None) > self._last
            and (row.attempt is None or row.attempt >= self._told_from)
        ]
        if fresh:
            self._last = (fresh[-1].step, fresh[-1].eval_loss is not None)
        return fresh


def changed(before: dict[str, Any] | None, after: dict[str, Any]) -> bool:
    """Whether anything that a watcher would show has changed."""
    shown = ("status", "phase", "phase_detail", "metrics", "queue", "attempt", "error", "version")
    return before is None or any(before.get(name) != after.get(name) for name in shown)
