"""Whose turn it is: the rule that `planner` tells of, for the moment of a plan or all those of a forecast."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import heapify, heappop, heapreplace

from app.scheduler.queueing import FRESH, SOON, FreeSlot, Rules, Running, Standing, Waiting, used_after

RESERVED = 600.0  # device-seconds an attempt counts for beside what it used: about what one will use


class Account:
    """One account's waiting, in its own order, and how it stands; `share` is what it is compared by."""

    __slots__ = ("by_age", "held", "longest", "passed_on", "room", "share", "suspended", "used", "waiting")

    def __init__(self, standing: Standing) -> None:
        self.room, self.suspended, self.passed_on = standing.room, standing.suspended, standing.passed_on
        self.used, self.held = standing.used, standing.held
        self.waiting: list[Waiting] = []
        self.longest: Waiting | None = None
        self.by_age: list[Waiting] | None = None  # youngest first; made when it is needed
        self.weigh()

    def weigh(self) -> None:
        """Say anew what it is compared by: in whole milliseconds, so that no last digit decides."""
        self.share = int((self.used + RESERVED * self.held) * 1000 + 0.5)

    @property
    def has_room(self) -> bool:
        """Whether it may start another attempt."""
        return self.room is None or self.room > 0

    def longest_since(self) -> datetime:
        """Since when the longest waiting is that."""
        assert self.longest is not None
        since = _age(self.longest)[0]
        return since if self.passed_on is None else max(since, self.passed_on)


class Line:
    """Those of an account whom the same devices fit and the same delay holds up; `at` is the first left."""

    __slots__ = ("account", "at", "later", "size", "waiting")

    def __init__(self, account: Account, size: int, later: datetime | None) -> None:
        self.account, self.size, self.later, self.at = account, size, later, 0
        self.waiting: list[Waiting] = []


Turn = tuple[int, int, datetime, str, Line]
Victim = tuple[int, float, int, str, Running]  # the lowest priority, then who ran least, and so on


class Turns:
    """Who may start when. `sizes` are the memories of all devices there are."""

    def __init__(
        self,
        waiting: Iterable[Waiting],
        standings: Mapping[str, Standing],
        sizes: Iterable[int],
        now: datetime,
        rules: Rules,
    ) -> None:
        self._rules, self._now = rules, now
        self._sizes = sorted(set(sizes))
        self._free: list[list[FreeSlot]] = [[] for _ in self._sizes]
        self._largest = -1  # the largest size with a free slot
        self._accounts = {id: Account(standing) for id, standing in standings.items()}
        self._lines: dict[tuple[str, int, datetime | None], Line] = {}
        self._started: set[tuple[str, int]] = set()
        self.left = 0
        for one in waiting:
            account = self._account(one.account_id)
            if one.started or not account.suspended:
                account.waiting.append(one)
        for id, account in self._accounts.items():
            account.waiting.sort(key=_own_turn)
            account.longest = min(filter(self._fits, account.waiting), key=_age, default=None)
            self.left += len(account.waiting)
            for one in account.waiting:
                self._line(id, one).waiting.append(one)

    def _account(self, id: str) -> Account:
        if (account := self._accounts.get(id)) is None:
            account = self._accounts[id] = Account(FRESH)
        return account

    def _fits(self, one: Waiting) -> bool:
        return bool(self._sizes) and one.memory <= self._sizes[-1]

    def _line(self, account_id: str, one: Waiting) -> Line:
        later = one.not_before if one.not_before is not None and one.not_before > self._now else None
        key = (account_id, bisect_left(self._sizes, one.memory), later)
        if (line := self._lines.get(key)) is None:
            line = self._lines[key] = Line(self._accounts[account_id], key[1], later)
        return line

    def free(self, slot: FreeSlot) -> None:
        """A slot is free; of one size the last one freed is given away first."""
        size = bisect_left(self._sizes, slot.memory)
        self._free[size].append(slot)
        self._largest = max(self._largest, size)

    def start(self, at: datetime) -> list[tuple[Waiting, FreeSlot, bool]]:
        """All who start now, and whether each was its account's longest waiting."""
        started: list[tuple[Waiting, FreeSlot, bool]] = []
        if self._largest < 0:
            return started
        for _, _, one, account in self._due(at):
            later = one.not_before is not None and one.not_before > at
            if not later and account.has_room and bisect_left(self._sizes, one.memory) <= self._largest:
                started.append(self._give(one, account, at))
        heap = self._heads(at)
        while heap and self._largest >= 0:
            _, share, _, _, line = heap[0]
            account = line.account
            if line.size > self._largest or not account.has_room:
                heappop(heap)
                continue
            if share == account.share:  # else it started something meanwhile, and its turn is later
                started.append(self._give(line.waiting[line.at], account, at))
            turn, line.at = self._turn(line, line.at)
            if turn is None:
                heappop(heap)
            else:
                heapreplace(heap, turn)
        return started

    def _due(self, at: datetime) -> list[tuple[datetime, str, Waiting, Account]]:
        latest = at - self._rules.patience
        return sorted(
            (account.longest_since(), account.longest.tuning_id, account.longest, account)
            for account in self._accounts.values()
            if account.longest is not None and account.longest_since() <= latest
        )

    def become_due(self, at: datetime) -> list[datetime]:
        """When somebody becomes due, after `at`."""
        patience = self._rules.patience
        moments = [
            account.longest_since() + patience
            for account in self._accounts.values()
            if account.longest is not None
        ]
        return [moment for moment in moments if moment > at]

    def _heads(self, at: datetime) -> list[Turn]:
        """The first of each line that waits for nothing but a slot."""
        heap = []
        for key, line in list(self._lines.items()):
            if line.later is not None and line.later > at:
                continue
            turn, line.at = self._turn(line, line.at)
            if turn is None:
                del self._lines[key]
            elif line.account.has_room:
                heap.append(turn)
        heapify(heap)
        return heap

    def _turn(self, line: Line, place: int) -> tuple[Turn | None, int]:
        """What the first of a line is compared by, from this place on, and where it stands."""
        waiting = line.waiting
        while place < len(waiting):
            one = waiting[place]
            if (one.tuning_id, one.attempt) not in self._started:
                return (-one.priority, line.account.share, one.created_at, one.tuning_id, line), place
            place += 1
        return None, place

    def _give(self, one: Waiting, account: Account, at: datetime) -> tuple[Waiting, FreeSlot, bool]:
        size = bisect_left(self._sizes, one.memory)
        while not self._free[size]:
            size += 1
        slot = self._free[size].pop()
        while self._largest >= 0 and not self._free[self._largest]:
            self._largest -= 1
        self._started.add((one.tuning_id, one.attempt))
        self.left -= 1
        if account.room is not None:
            account.room -= 1
        account.held += 1
        account.weigh()
        longest = account.longest is one
        if longest:
            account.passed_on = at
            self._pass_on(account)
        return one, slot, longest

    def _pass_on(self, account: Account) -> None:
        """Find the longest waiting anew."""
        if account.by_age is None:
            account.by_age = sorted(filter(self._fits, account.waiting), key=_age, reverse=True)
        by_age = account.by_age
        while by_age and (by_age[-1].tuning_id, by_age[-1].attempt) in self._started:
            by_age.pop()
        account.longest = by_age[-1] if by_age else None

    def places(self, at: datetime) -> dict[str, int]:
        """The places of those left: as if one after another were to start, and count for its account."""
        due = [one.tuning_id for _, _, one, _ in self._due(at)]
        left: list[tuple[int, int, datetime, str]] = []
        step = int(RESERVED * 1000)
        for account in self._accounts.values():
            share = account.share
            for one in account.waiting:
                if (one.tuning_id, one.attempt) not in self._started:
                    left.append((-one.priority, share, one.created_at, one.tuning_id))
                    share += step
        left.sort()
        first = dict.fromkeys(due)
        order = [*due, *[id for _, _, _, id in left if id not in first]]
        return {id: place for place, id in enumerate(order, 1)}

    def preempt(self, running: Iterable[Running], at: datetime) -> list[Running]:
        """Who is to give its slot back now, once all who can have started."""
        margin, heads = self._rules.margin, self._heads(at)
        if not margin or not heads:
            return []
        coming: list[int] = []
        victims: list[Victim] = []
        for held in running:
            tuning = held.tuning
            if tuning is None or held.leaving or (held.until is not None and held.until - at <= SOON):
                coming.append(held.memory)
            elif held.spared_until is None or held.spared_until <= at:
                least = -held.since.timestamp()
                victims.append((tuning.priority, least, held.memory, tuning.tuning_id, held))
        victims.sort()
        if not victims or -heads[0][0] - victims[0][0] < margin:
            return []
        coming.sort()
        smallest = min(memory for _, _, memory, _, _ in victims)
        found: list[Running] = []
        beyond = self._sizes[-1] + 1  # slots of so much memory and more go to somebody before
        for one, needs, due in self._in_turn(at, heads):
            highest = one.priority - margin
            if needs < beyond:
                if (place := bisect_left(coming, needs)) < len(coming):
                    del coming[place]
                elif (victim := _victim(victims, highest, needs, beyond)) is not None:
                    found.append(victims.pop(victim)[-1])
                else:
                    beyond = needs
            if not victims or beyond <= smallest or (highest < victims[0][0] and not due):
                break
        return found

    def _in_turn(self, at: datetime, heap: list[Turn]) -> Iterator[tuple[Waiting, int, bool]]:
        """Those who wait for nothing but a slot, in turn, the least memory that fits, whether it is due."""
        rooms: dict[int, int] = {}
        seen: set[str] = set()

        def has_room(account: Account) -> bool:
            room = account.room
            if room is not None:
                room = rooms[id(account)] = rooms.get(id(account), room) - 1
            return room is None or room >= 0

        for _, _, one, account in self._due(at):
            if (one.not_before is None or one.not_before <= at) and has_room(account):
                seen.add(one.tuning_id)
                yield one, self._sizes[bisect_left(self._sizes, one.memory)], True
        places = {id(line): line.at for *_, line in heap}
        while heap:
            line = heap[0][-1]
            one = line.waiting[places[id(line)]]
            if line.size == len(self._sizes) or not (one.tuning_id in seen or has_room(line.account)):
                heappop(heap)
                continue
            if one.tuning_id not in seen:
                yield one, self._sizes[line.size], False
            turn, places[id(line)] = self._turn(line, places[id(line)] + 1)
            if turn is None:
                heappop(heap)
            else:
                heapreplace(heap, turn)

    def advance(self, now: datetime) -> None:
        """Let time go by: what was used decays, and what is held is used."""
        seconds = (now - self._now).total_seconds()
        if seconds <= 0:
            return
        self._now = now
        for account in self._accounts.values():
            account.used = used_after(account.used, account.held, seconds, self._rules.half_life)
            account.weigh()

    def leave(self, account_id: str) -> None:
        """One of this account's attempts is over."""
        if (account := self._accounts.get(account_id)) is not None:
            account.held -= 1
            account.weigh()
            if account.room is not None:
                account.room += 1

    def come_back(self, one: Waiting) -> None:
        """A tuning that gave its slot back waits again."""
        account = self._account(one.account_id)
        line = self._line(one.account_id, one)
        insort(line.waiting, one, lo=line.at, key=_own_turn)
        self.left += 1
        insort(account.waiting, one, key=_own_turn)
        account.by_age = None
        self._pass_on(account)


def _victim(victims: list[Victim], highest: int, needs: int, beyond: int) -> int | None:
    """The place of the first of at most this priority whose slot fits, and is not somebody else's."""
    for place, (priority, _, memory, _, _) in enumerate(victims):
        if priority > highest:
            return None
        if needs <= memory < beyond:
            return place
    return None


def _own_turn(one: Waiting) -> tuple[int, datetime, str]:
    """What an account's own are sorted by."""
    return -one.priority, one.created_at, one.tuning_id


def _age(one: Waiting) -> tuple[datetime, str]:
    return one.since or one.created_at, one.tuning_id
