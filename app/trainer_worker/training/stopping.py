"""When a run has learned all it can: a validation loss that was not lower for a number of evaluations."""

from __future__ import annotations

import math

from msgspec import Struct


class Heard(Struct, frozen=True):
    """What a `Patience` remembers; a loss that is not there yet is None."""

    mark: float | None
    best: float | None
    in_vain: int


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


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
