"""When a run is to end early: it has learned all it can, or has run away."""

from __future__ import annotations

import math

from msgspec import Struct


class Heard(Struct, frozen=True):
    """What a `Patience` remembers; a loss that is not there yet is None."""

    mark: float | None
    best: float | None
    in_vain: int


class Watched(Struct, frozen=True):
    """What a `RunawayWatch` remembers; a loss that is not there yet is None."""

    heard: int
    above: int
    best: float | None


class Patience:
    """Hears the loss of every evaluation.

    One is lower when it has fallen by more than `min_delta` since the last that was; so many small steps down
    are worth one large one. `best` is the lowest of all.
    """

    def __init__(self, evaluations: int, min_delta: float) -> None:
        self._evaluations, self._min_delta = evaluations, min_delta
        self._mark = self.best = math.inf
        self._in_vain = 0

    def hear(self, loss: float) -> bool:
        """Take a loss; whether it is the best so far."""
        if loss < self._mark - self._min_delta:
            self._mark, self._in_vain = loss, 0
        else:
            self._in_vain += 1
        better = loss < self.best
        self.best = min(loss, self.best)
        return better

    @property
    def over(self) -> bool:
        """Whether the run is to end."""
        return self._in_vain >= self._evaluations

    def kept(self) -> Heard:
        """What is to be remembered when the run goes on elsewhere."""
        return Heard(_finite(self._mark), _finite(self.best), self._in_vain)

    def go_on(self, heard: Heard) -> None:
        """Remember what was heard before."""
        self._mark = math.inf if heard.mark is None else heard.mark
        self.best = math.inf if heard.best is None else heard.best
        self._in_vain = heard.in_vain


class RunawayWatch:
    """Hears the loss of every step. A run has run away when so many in a row are far above its first ones.

    Far is four nats, or three times the best of the first steps, whichever is more: no rows are that much
    harder than others so many steps in a row, and no rate is too high that lets a run return from there.
    """

    FIRST, IN_A_ROW = 5, 10

    def __init__(self) -> None:
        self._heard = self._above = 0
        self._best = math.inf

    @property
    def limit(self) -> float:
        """The loss that is too much."""
        return max(3 * self._best, self._best + 4)

    def hear(self, loss: float) -> bool:
        """Take a loss; whether the run has run away."""
        self._heard += 1
        if self._heard <= self.FIRST:
            self._best = min(self._best, loss)
        self._above = self._above + 1 if loss > self.limit else 0
        return self._above >= self.IN_A_ROW

    def kept(self) -> Watched:
        """What is to be remembered when the run goes on elsewhere."""
        return Watched(self._heard, self._above, _finite(self._best))

    def go_on(self, watched: Watched) -> None:
        """Remember what was heard before."""
        self._heard, self._above = watched.heard, watched.above
        self._best = math.inf if watched.best is None else watched.best


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
