"""When each waiting tuning will likely start: the plan gone through over and over, as slots become free."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from itertools import count
from math import ceil

from msgspec.structs import replace

from app.scheduler.queueing import (
    RULES,
    SOON,
    FreeSlot,
    Rules,
    Running,
    Standing,
    Waiting,
    spared_until,
)
from app.scheduler.turns import Turns

TOLD_TO = 5  # seconds, up
STANDS_WITHIN = timedelta(seconds=15)  # what was told is not told anew for less, nor for a tenth of the wait
GIVEN_BACK_WITHIN = timedelta(seconds=10)  # a step and a checkpoint
NEXT_PLAN = timedelta(seconds=1)  # which sees what this one started


def forecast(
    waiting: Sequence[Waiting],
    free: Sequence[FreeSlot],
    running: Iterable[Running],
    now: datetime,
    standings: Mapping[str, Standing],
    seconds: Mapping[str, float],
    rules: Rules = RULES,
) -> dict[str, datetime]:
    """The likely start of each of the waiting; one that is left out waits for what nothing is known of.

    `seconds` is how long a tuning will likely hold its slot. Who starts is decided as `plan` does; who is
    preempted waits again for as long as it has left.
    """
    held = dict(enumerate(running))
    numbers = count(len(held))
    if not _may_preempt(waiting, held.values(), rules):
        rules = replace(rules, margin=0)
    sizes = [slot.memory for slot in free] + [one.memory for one in held.values()]
    turns = Turns(waiting, standings, sizes, now, rules)
    for slot in free:
        turns.free(slot)
    ends = [(one.until, number) for number, one in held.items() if one.until is not None]
    heapify(ends)
    later = {one.not_before for one in waiting if one.not_before is not None and one.not_before > now}
    ripe = sorted(later)
    left = dict(seconds)
    starts: dict[str, datetime] = {}
    asked, at = {one.tuning_id for one in waiting}, now
    while turns.left:
        while ends and ends[0][0] <= at:
            end, number = heappop(ends)
            if number in held and held[number].until == end:  # else it gave its slot back before
                _leave(turns, held.pop(number), at)
        before = list(held.values())
        started = turns.start(at)
        for one, slot, _ in started:
            if one.tuning_id in asked:  # one that gave its slot back has started long since
                starts.setdefault(one.tuning_id, at)
            takes = left.get(one.tuning_id)
            number, until = next(numbers), None
            if takes is not None:
                until = at + timedelta(seconds=takes)
                heappush(ends, (until, number))
            held[number] = begun(one, slot.memory, at, until)
        for number, taken in _with_numbers(turns.preempt(before, at), held):
            held[number] = replace(taken, leaving=True, returns=True, until=at + GIVEN_BACK_WITHIN)
            heappush(ends, (at + GIVEN_BACK_WITHIN, number))
            if taken.tuning is not None and taken.until is not None:
                left[taken.tuning.tuning_id] = (taken.until - at).total_seconds()
        moments = [moment for moment, _ in ends[:1]] + ripe[bisect_right(ripe, at) :][:1]
        if rules.margin:
            moments += _changes(list(held.values()), at) + turns.become_due(at)
            moments += [at + NEXT_PLAN] if started else []
        if not moments:
            break
        at = max(at, min(moments))
        turns.advance(at)
    return starts


def _leave(turns: Turns, gone: Running, at: datetime) -> None:
    """A slot becomes free; who gave it back waits again."""
    turns.free(FreeSlot("", "", 0, gone.memory))
    if gone.tuning is not None:
        turns.leave(gone.tuning.account_id)
        if gone.returns:
            turns.come_back(replace(gone.tuning, since=at))


def _with_numbers(found: list[Running], held: Mapping[int, Running]) -> list[tuple[int, Running]]:
    """Those found, by their numbers."""
    wanted = set(map(id, found))
    return [(number, one) for number, one in held.items() if id(one) in wanted] if found else []


def _changes(held: Sequence[Running], at: datetime) -> list[datetime]:
    """When who may be preempted changes."""
    spared = [one.spared_until for one in held if one.spared_until is not None]
    soon = [one.until - SOON for one in held if one.until is not None and not one.leaving]
    return [moment for moment in spared + soon if moment > at]


def _may_preempt(waiting: Sequence[Waiting], running: Iterable[Running], rules: Rules) -> bool:
    """Whether anybody is of so much higher a priority than anybody else."""
    priorities = [one.priority for one in waiting]
    there = priorities + [one.tuning.priority for one in running if one.tuning is not None]
    return bool(priorities) and max(priorities) - min(there) >= rules.margin > 0


def begun(one: Waiting, memory: int, at: datetime, until: datetime | None) -> Running:
    """A tuning that has just got a slot."""
    after = replace(one, attempt=one.attempt + 1, not_before=None, started=True, since=None)
    return Running(memory, at, after, until, spared_until=spared_until(one.attempt, at))


def as_told(told: datetime | None, found: datetime | None, now: datetime) -> datetime | None:
    """What to tell of a start: what was told already, unless it has moved by something worth a message."""
    if found is None:
        return None
    if told is not None and abs(found - told) <= max(STANDS_WITHIN, (told - now) / 10):
        return told
    return datetime.fromtimestamp(ceil(found.timestamp() / TOLD_TO) * TOLD_TO, UTC)
