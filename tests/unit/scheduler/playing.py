"""A fleet played second by second: whoever the plan gives a slot holds it for as long as it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from app.scheduler.forecast import GIVEN_BACK_WITHIN, begun
from app.scheduler.planner import Assignment, plan
from app.scheduler.queueing import FRESH, FreeSlot, Rules, Running, Standing, Waiting, used_after


class Fleet:
    """Slots, those on them, those who wait; `seconds` is how long each takes, without end if it has none."""

    def __init__(
        self,
        slots: Iterable[FreeSlot],
        rules: Rules,
        seconds: Mapping[str, float],
        standings: Mapping[str, Standing] | None = None,
    ) -> None:
        self.free, self.rules, self.left = list(slots), rules, dict(seconds)
        self.standings = dict(standings or {})
        self.waiting: list[Waiting] = []
        self.held: dict[FreeSlot, Running] = {}
        self.at: datetime | None = None

    def step(self, at: datetime) -> list[Assignment]:
        """Whoever is through goes, then a plan is made and carried out."""
        if self.at is not None:
            gone = (at - self.at).total_seconds()
            for id, stood in self.standings.items():
                used = used_after(stood.used, stood.held, gone, self.rules.half_life)
                self.standings[id] = replace(stood, used=used)
        self.at = at
        for slot, taken in list(self.held.items()):
            if taken.until is not None and taken.until <= at:
                self._leave(slot, at)
        made = plan(self.waiting, self.free, at, self.standings, list(self.held.values()), self.rules)
        there = {one.tuning_id: one for one in self.waiting}
        for given in made.assignments:
            one = there.pop(given.tuning_id)
            takes = self.left.get(one.tuning_id)
            until = None if takes is None else at + timedelta(seconds=takes)
            self.free.remove(given.slot)
            self.held[given.slot] = begun(one, given.slot.memory, at, until)
            self._counted(one.account_id, 1)
            if given.longest:
                self.standings[one.account_id] = replace(self.standings[one.account_id], passed_on=at)
        self.waiting = list(there.values())
        for slot, taken in list(self.held.items()):
            if any(taken is one for one in made.preempted):
                if taken.tuning is not None and taken.until is not None:
                    self.left[taken.tuning.tuning_id] = (taken.until - at).total_seconds()
                self.held[slot] = replace(taken, leaving=True, returns=True, until=at + GIVEN_BACK_WITHIN)
        return list(made.assignments)

    def _leave(self, slot: FreeSlot, at: datetime) -> None:
        one = self.held.pop(slot)
        self.free.append(slot)
        if one.tuning is not None:
            self._counted(one.tuning.account_id, -1)
            if one.returns:
                self.waiting.append(replace(one.tuning, since=at))

    def _counted(self, account: str, by: int) -> None:
        now = self.standings.get(account, FRESH)
        room = None if now.room is None else now.room - by
        self.standings[account] = replace(now, held=now.held + by, room=room)
