"""When each waiting tuning will likely start: the plan gone through over and over, as slots become free."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush
from math import ceil

from msgspec import Struct

from app.scheduler.planner import FREE, FreeSlot, Quota, Waiting, turn

TOLD_TO = 5  # seconds, up
STANDS_WITHIN = timedelta(seconds=15)  # what was told is not told anew for less, nor for a tenth of the wait


class BusySlot(Struct, frozen=True):
    """A slot with a tuning on it; `until` is when it is likely free, None where nothing tells."""

    memory: int
    account_id: str
    until: datetime | None


def forecast(
    waiting: Iterable[Waiting],
    free: Sequence[FreeSlot],
    busy: Iterable[BusySlot],
    now: datetime,
    quotas: Mapping[str, Quota],
    seconds: Mapping[str, float],
) -> dict[str, datetime]:
    """The likely start of each of the waiting; one that is left out waits for what nothing is known of.

    `seconds` is how long a tuning will likely hold its slot. Who starts is decided as `plan` does.
    """
    rooms = {id: quota.room for id, quota in quotas.items() if quota.room is not None}
    # Those alike wait for the same: of each such line only the first is looked at.
    lines: dict[tuple[str, int, datetime | None], deque[tuple[int, Waiting]]] = {}
    for place, one in enumerate(sorted(waiting, key=turn)):
        if one.started or not quotas.get(one.account_id, FREE).suspended:
            later = one.not_before if one.not_before is not None and one.not_before > now else None
            lines.setdefault((one.account_id, one.memory, later), deque()).append((place, one))
    memories = sorted(slot.memory for slot in free)
    ends = [(slot.until, slot.memory, slot.account_id) for slot in busy if slot.until is not None]
    heapify(ends)
    starts: dict[str, datetime] = {}
    at = now
    while lines:
        while (line := _next(lines, memories, rooms, at)) is not None:
            _, one = lines[line].popleft()
            if not lines[line]:
                del lines[line]
            memory = memories.pop(bisect_left(memories, one.memory))
            if one.account_id in rooms:
                rooms[one.account_id] -= 1
            starts[one.tuning_id] = at
            if (takes := seconds.get(one.tuning_id)) is not None:
                heappush(ends, (at + timedelta(seconds=takes), memory, one.account_id))
        ripe = [later for _, _, later in lines if later is not None and later > at]
        if not lines or not (ends or ripe):
            break
        if ends and (not ripe or ends[0][0] <= min(ripe)):
            until, memory, account_id = heappop(ends)
            at = max(at, until)
            insort(memories, memory)
            if account_id in rooms:
                rooms[account_id] += 1
        else:
            at = min(ripe)
    return starts


def _next(
    lines: Mapping[tuple[str, int, datetime | None], deque[tuple[int, Waiting]]],
    memories: list[int],
    rooms: Mapping[str, int],
    at: datetime,
) -> tuple[str, int, datetime | None] | None:
    """The line whose first starts now; None when nobody can."""
    if not memories:
        return None
    able = [
        (line[0][0], key)
        for key, line in lines.items()
        if key[1] <= memories[-1] and rooms.get(key[0], 1) > 0 and (key[2] is None or key[2] <= at)
    ]
    return min(able)[1] if able else None


def as_told(told: datetime | None, found: datetime | None, now: datetime) -> datetime | None:
    """What to tell of a start: what was told already, unless it has moved by something worth a message."""
    if found is None:
        return None
    if told is not None and abs(found - told) <= max(STANDS_WITHIN, (told - now) / 10):
        return told
    return datetime.fromtimestamp(ceil(found.timestamp() / TOLD_TO) * TOLD_TO, UTC)
