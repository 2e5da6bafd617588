"""How many device-seconds each account used lately: what it used counts half after each half-life.

All of it is in the tunings' states on the log: since when an attempt holds its device, and for how long those
before it did. So a scheduler that starts knows what the one before it knew, but for one thing: what a tuning
used in several attempts counts as used in one go until the last of them ended.
"""

from __future__ import annotations

from datetime import datetime

from app.domain.tunings import Tuning
from app.scheduler.queueing import used_after

REMEMBERED = 10  # half-lives; what was used before counts for less than a thousandth


class Usage:
    """Device-seconds by account, decayed. Times are the log's."""

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._over: dict[str, tuple[float, datetime]] = {}  # by account: attempts that are over, as of then
        self._running: dict[str, dict[str, datetime]] = {}  # by account and tuning: since when
        self._counted: dict[str, float] = {}  # by tuning

    def take(self, tuning: Tuning) -> None:
        """Take in a tuning as it is now."""
        account, moved = tuning.account_id, tuning.moved_at
        if moved is None:  # it never had a device
            return
        if tuning.attempt is None:
            self._running.get(account, {}).pop(tuning.id, None)
        else:
            self._running.setdefault(account, {})[tuning.id] = moved
        more = tuning.device_seconds - self._counted.get(tuning.id, 0.0)
        self._counted[tuning.id] = tuning.device_seconds
        if more > 0:
            self._spend(account, used_after(0.0, 1, more, self._half_life), moved)

    def _spend(self, account: str, used: float, at: datetime) -> None:
        before, when = self._over.get(account, (0.0, at))
        if at >= when:
            self._over[account] = (self._later(before, when, at) + used, at)
        else:
            self._over[account] = (before + self._later(used, at, when), when)

    def _later(self, used: float, at: datetime, when: datetime) -> float:
        return used_after(used, 0, (when - at).total_seconds(), self._half_life)

    def used(self, account: str, now: datetime) -> float:
        """What an account used up to now."""
        over, at = self._over.get(account, (0.0, now))
        running = self._running.get(account, {}).values()
        return self._later(over, at, max(at, now)) + sum(
            used_after(0.0, 1, max(0.0, (now - since).total_seconds()), self._half_life) for since in running
        )
