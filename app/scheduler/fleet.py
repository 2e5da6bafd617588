"""The workers by their heartbeats, and what became of the attempts on them.

A lease is measured on this process's own clock since a heartbeat last changed, so no two clocks are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from app.domain.tunings import Attempt, LossReason
from app.log.workers import Control, Heartbeat, Occupant

RENEWED_AFTER = timedelta(days=1)  # control records are deleted after a week, as heartbeats are

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
    occupied_by: str | None = None
    seconds_left: float | None = None
    saving: bool = False


class Fleet:
    """All workers heard of. Times are monotonic seconds."""

    def __init__(self, lease: float, stall: float) -> None:
        self._lease, self._stall = lease, stall
        self._heard: dict[str, Heard] = {}
        self._missing_since: dict[tuple[str, int], float] = {}
        self._controls: dict[str, tuple[Control, datetime]] = {}

    def hear(self, heartbeat: Heartbeat, now: float) -> None:
        """Take in a heartbeat."""
        before = self._heard.get(heartbeat.worker)
        if before is not None and before.heartbeat == heartbeat:
            return
        known = before.since if before else {}
        occupants = [slot.occupant for slot in heartbeat.slots if slot.occupant is not None]
        since = {progress: known.get(progress, now) for progress in map(_progress, occupants)}
        self._heard[heartbeat.worker] = Heard(heartbeat, now, since)

    def control(self, control: Control, at: datetime) -> None:
        """Take in what was decided about a worker."""
        self._controls[control.worker] = control, at

    def drained(self) -> list[str]:
        """The workers that are to hand back what they have."""
        return [worker for worker, (control, _) in self._controls.items() if control.drain == "hand_back"]

    def set_aside(self, attempt: Attempt, why: str) -> Control:
        """What is to be recorded so that this attempt's worker is set aside, in this session of it."""
        before, _ = self._controls.get(attempt.worker, (Control(attempt.worker), None))
        return replace(before, set_aside=why, session=attempt.session)

    def corrections(self, now: datetime) -> list[Control]:
        """Control records to be written: what holds no more as the session is new, or stands for long."""
        found = []
        for worker, (control, at) in self._controls.items():
            if control.set_aside is not None and not self._same_session(worker, control):
                found.append(replace(control, set_aside=None, session=None))
            elif (control.drain or control.set_aside) and now - at > RENEWED_AFTER:
                found.append(control)
        return found

    def _same_session(self, worker: str, control: Control) -> bool:
        heard = self._heard.get(worker)
        return heard is None or heard.heartbeat.session == control.session

    def _takes_work(self, heard: Heard, now: float) -> bool:
        beat = heard.heartbeat
        if now - heard.at >= self._lease or beat.draining:
            return False
        control, _ = self._controls.get(beat.worker, (None, None))
        return control is None or not control.keeps_out(beat.session)

    def living_slots(self, now: float) -> Iterator[LivingSlot]:
        """Every slot of a living worker that takes work."""
        for heard in self._heard.values():
            if not self._takes_work(heard, now):
                continue
            beat = heard.heartbeat
            for slot in beat.slots:
                there, left = slot.occupant, None
                if there is None:
                    yield LivingSlot(beat.worker, beat.session, slot.index, slot.device.memory)
                    continue
                if there.seconds_left is not None:
                    left = max(0.0, there.seconds_left - (now - heard.since[_progress(there)]))
                yield LivingSlot(
                    beat.worker,
                    beat.session,
                    slot.index,
                    slot.device.memory,
                    there.tuning_id,
                    left,
                    there.phase == "saving",
                )

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
