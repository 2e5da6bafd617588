"""How long tunings take here: by those that ended, and by what the running ones say."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime

from app.domain.hyperparameters import steps_per_epoch
from app.domain.tunings import Tuning

REMEMBERED = 8  # of each model and method
EVALUATION_COST = 1 / 3  # of training on the same: no backward pass

Seen = tuple[float, float]  # work, and the seconds it took


class Pace:
    """What was seen of each model and method."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, str], deque[Seen]] = {}
        self._running: dict[str, tuple[tuple[str, str], Seen]] = {}

    def end(self, tuning: Tuning) -> None:
        """Take in a tuning that ended: it counts if it went through at the first attempt."""
        self._running.pop(tuning.id, None)
        if tuning.status == "succeeded" and tuning.attempts == 1 and tuning.started_at and tuning.finished_at:
            took = (tuning.finished_at - tuning.started_at).total_seconds()
            seen = self._ended.setdefault(_kind(tuning), deque(maxlen=REMEMBERED))
            seen.append((work(tuning), took))

    def run(self, tuning: Tuning, seconds_left: float, now: datetime) -> None:
        """Take in what a running tuning says; after a lost attempt it tells too little."""
        if tuning.attempts == 1 and tuning.started_at:
            took = (now - tuning.started_at).total_seconds() + seconds_left
            self._running[tuning.id] = (_kind(tuning), (work(tuning), took))

    def left(self, tuning: Tuning, said: float | None, takes: float | None, now: datetime) -> float | None:
        """Seconds until a tuning that has a slot is through: as it `said`, or by what it likely takes."""
        if said is not None or takes is None:
            return said
        begun = tuning.started_at if tuning.attempts == 1 else None
        return max(0.0, takes - (now - begun).total_seconds()) if begun else takes

    def seconds(self, tunings: Mapping[str, Tuning]) -> dict[str, float]:
        """How long each of these will likely hold its slot; none of them, as long as nothing was seen.

        Large ones weigh more: in a small one most is what every tuning takes, whatever its size.
        """
        seen: dict[tuple[str, str], list[Seen]] = {kind: list(ended) for kind, ended in self._ended.items()}
        for kind, one in self._running.values():
            seen.setdefault(kind, []).append(one)
        paces = {kind: pace for kind, all in seen.items() if (pace := _pace(all)) is not None}
        usual = _pace([one for all in seen.values() for one in all])
        found: dict[str, float] = {}
        for id, tuning in tunings.items():
            if (pace := paces.get(_kind(tuning), usual)) is not None:
                found[id] = to_do(tuning) * pace
        return found


def work(tuning: Tuning) -> float:
    """Bytes of rows that a tuning goes through, from its beginning to its end."""
    hyper, file, validation = tuning.hyperparameters, tuning.training_file, tuning.validation_file
    passes = _steps(tuning) / steps_per_epoch(max(1, file.rows), hyper.batch_size)
    return passes * (file.bytes + (validation.bytes * EVALUATION_COST if validation else 0))


def to_do(tuning: Tuning) -> float:
    """What its next attempt has to go through, or the one under way had to: it goes on from a checkpoint."""
    done, attempt = tuning.checkpoint, tuning.attempt
    if done is None or (attempt is not None and attempt.number == 1):
        return work(tuning)
    return work(tuning) * max(0.0, 1 - done.step / _steps(tuning))


def _steps(tuning: Tuning) -> int:
    """Optimizer steps in all; of packed rows there are fewer."""
    hyper = tuning.hyperparameters
    return hyper.max_steps or hyper.epochs * steps_per_epoch(
        max(1, tuning.training_file.rows), hyper.batch_size
    )


def _kind(tuning: Tuning) -> tuple[str, str]:
    return tuning.model.id, tuning.method


def _pace(seen: list[Seen]) -> float | None:
    all_work = sum(work for work, _ in seen)
    return sum(took for _, took in seen) / all_work if all_work else None
