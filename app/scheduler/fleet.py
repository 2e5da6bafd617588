"""The workers by their heartbeats, and what became of the attempts on them.

A lease is measured on this process's own clock since a heartbeat last changed, so no two clocks are compared.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from app.domain.tunings import Attempt, LossReason
from app.log.workers import Heartbeat, Occupant
from app.scheduler.planner import FreeSlot

Progress = tuple[str, int, str, int, str]


class Heard(Struct):
    """A worker's last heartbeat, when it changed, and since when each occupant stands at its step."""

    heartbeat: Heartbeat
    at: float
    since: dict[Progress, float]


class LivingSlot(Struct, frozen=True):
    """A slot of a living worker that takes work, and what is left to the tuning on it, in seconds."""

    worker: str
    session: str
    index: int
    memory: int
    occupied_by: str | None
    seconds_left: float | None


class Fleet:
    """All workers heard of. Times are monotonic seconds."""

    def __init__(self, lease: float, stall: float) -> None:
        self._lease, self._stall = lease, stall
        self._heard: dict[str, Heard] = {}
        self._missing_since: dict[tuple[str, int], float] = {}

    def hear(self, heartbeat: Heartbeat, now: float) -> None:
        """Take in a heartbeat."""
        before = self._heard.get(heartbeat.worker)
        if before is not None and before.heartbeat == heartbeat:
            return
        known = before.since if before else {}
        occupants = [slot.occupant for slot in heartbeat.slots if slot.occupant is not None]
        since = {progress: known.get(progress, now) for progress in map(_progress, occupants)}
        self._heard[heartbeat.worker] = Heard(heartbeat, now, since)

    def free_slots(self, taken: set[tuple[str, str, int]], now: float) -> list[FreeSlot]:
        """Free slots of living workers, but for `taken`: (worker, session, slot) given away already."""
        return [
            FreeSlot(slot.worker, slot.session, slot.index, slot.memory)
            for slot in self.living_slots(now)
            if slot.occupied_by is None and (slot.worker, slot.session, slot.index) not in taken
        ]

    def living_slots(self, now: float) -> Iterator[LivingSlot]:
        """Every slot of a living worker, but for one that drains."""
        for heard in self._heard.values():
            beat = heard.heartbeat
            if now - heard.at >= self._lease or beat.draining:
                continue
            for slot in beat.slots:
                there, left = slot.occupant, None
                if there is not None and there.seconds_left is not None:
                    left = max(0.0, there.seconds_left - (now - heard.since[_progress(there)]))
                by = there.tuning_id if there else None
                yield LivingSlot(beat.worker, beat.session, slot.index, slot.device.memory, by, left)

    def lost(self, tuning_id: str, attempt: Attempt, now: float) -> LossReason | None:
        """Why this attempt is lost; None as long as it is not."""
        key = (tuning_id, attempt.number)
        heard = self._heard.get(attempt.worker)
        if heard is None:
            return "worker_lost" if self._missing_for(key, now) > self._lease else None
        if heard.heartbeat.session != attempt.session:
            # Heartbeats may be older than the dispatch: one lease for the new session's to arrive.
            return "worker_lost" if self._missing_for(key, now) > self._grace(heard, now) else None
        if now - heard.at >= self._lease:
            return "worker_lost"
        for progress, since in heard.since.items():
            if progress[:2] == key:
                self._missing_since.pop(key, None)
                return "stalled" if now - since >= self._stall else None
        return "order_declined" if self._missing_for(key, now) > self._lease else None

    def _grace(self, heard: Heard, now: float) -> float:
        return 1.0 if now - heard.at < self._lease else self._lease

    def _missing_for(self, key: tuple[str, int], now: float) -> float:
        return now - self._missing_since.setdefault(key, now)

    def forget(self, live: set[tuple[str, int]]) -> None:
        """Drop what was remembered of attempts that are over."""
        self._missing_since = {key: at for key, at in self._missing_since.items() if key in live}


def _progress(occupant: Occupant) -> Progress:
    return occupant.tuning_id, occupant.attempt, occupant.phase, occupant.step, occupant.detail
