"""The plan: waiting tunings onto free slots. Pure: what comes in decides what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct


class Waiting(Struct, frozen=True):
    """A tuning that waits; `memory` is its estimate in bytes, `attempt` the next attempt's number.

    One that has `started` waits for an attempt in place of a lost one, or to go on after a pause.
    """

    tuning_id: str
    priority: int
    created_at: datetime
    memory: int
    attempt: int
    not_before: datetime | None = None
    account_id: str = ""
    started: bool = False


class Quota(Struct, frozen=True):
    """What an account may start now: `room` for so many attempts more, None: any number."""

    room: int | None = None
    suspended: bool = False


FREE = Quota()


class FreeSlot(Struct, frozen=True):
    """A slot with nothing on it; `memory` is its device's, in bytes."""

    worker: str
    session: str
    index: int
    memory: int


class Assignment(Struct, frozen=True):
    """This tuning's next attempt goes to this slot."""

    tuning_id: str
    attempt: int
    slot: FreeSlot


class Plan(Struct, frozen=True):
    """Who starts now, and the place from 1 of everyone else who waits for nothing but a turn."""

    assignments: tuple[Assignment, ...]
    places: dict[str, int]


def turn(one: Waiting) -> tuple[int, datetime, str]:
    """What the waiting are sorted by."""
    return -one.priority, one.created_at, one.tuning_id


def plan(
    waiting: Sequence[Waiting],
    slots: Sequence[FreeSlot],
    now: datetime,
    quotas: Mapping[str, Quota] | None = None,
) -> Plan:
    """Higher priority first, then order of arrival; a tuning goes only where its estimated memory fits.

    The tightest slot that fits is taken, so that big devices stay free for what needs them. A tuning that
    fits nowhere just now, or whose account has no room, does not hold up those behind it. What a suspended
    account has waiting waits on, without a place; what it has started goes on to its end.
    """
    quotas = quotas or {}
    rooms = {id: quota.room for id, quota in quotas.items() if quota.room is not None}
    free = sorted(slots, key=lambda slot: (slot.memory, slot.worker, slot.index))
    assignments: list[Assignment] = []
    places: dict[str, int] = {}
    for one in sorted(waiting, key=turn):
        if quotas.get(one.account_id, FREE).suspended and not one.started:
            continue
        has_room = rooms.get(one.account_id, 1) > 0
        ripe = bool(free) and has_room and (one.not_before is None or one.not_before <= now)
        chosen = next((slot for slot in free if slot.memory >= one.memory), None) if ripe else None
        if chosen is None:
            places[one.tuning_id] = len(places) + 1
        else:
            free.remove(chosen)
            if one.account_id in rooms:
                rooms[one.account_id] -= 1
            assignments.append(Assignment(one.tuning_id, one.attempt, chosen))
    return Plan(tuple(assignments), places)
