"""Workers on which attempts fail alike, one after another: it is the worker, not the tunings."""

from __future__ import annotations

from app.domain.tunings import Attempt, LossReason, Tuning

ALIKE = 3  # different tunings in a row, with nothing else between
AGAINST_WORKER: frozenset[LossReason] = frozenset(("stalled", "order_declined", "child_died", "worker_error"))
# The platform's fault, but no worker's.
ELSEWHERE = frozenset(("attempts_exhausted", "file_unusable", "labels_changed"))


class Failing:
    """What failed last on each worker."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, str, set[str]]] = {}  # session, what, and the tunings

    def take(self, attempt: Attempt, tuning: Tuning) -> str | None:
        """Take in that an attempt is over, by its tuning; why its worker is to be set aside, if it is."""
        what = _against_worker(tuning)
        if what is None:
            if tuning.status == "succeeded" or tuning.failure is not None:
                self._rows.pop(attempt.worker, None)
            return None
        session, before, tunings = self._rows.get(attempt.worker, ("", "", set[str]()))
        if (session, before) != (attempt.session, what):
            tunings = set()
        tunings.add(tuning.id)
        self._rows[attempt.worker] = (attempt.session, what, tunings)
        if len(tunings) < ALIKE:
            return None
        del self._rows[attempt.worker]
        return f"{ALIKE} tunings in a row ended with {what}"


def _against_worker(tuning: Tuning) -> str | None:
    """What the last attempt's end says against its worker."""
    failure = tuning.failure
    if failure is not None and failure.code not in ELSEWHERE:
        return failure.code if failure.blame == "platform" else None
    if tuning.status in ("paused", "succeeded", "cancelled"):
        return None
    return tuning.lost_for if tuning.lost_for in AGAINST_WORKER else None
