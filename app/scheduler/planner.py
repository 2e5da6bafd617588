"""The plan: waiting tunings onto free slots. Pure: what comes in decides what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct


class Waiting(Struct, frozen=True):
    """A tuning that waits; `memory` is its estimate in bytes, `attempt` the next attempt's number."""

    tuning_id: str
    priority: int
    created_at: datetime
    memory: int
    attempt: int
    not_before: datetime | None = None


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
    """Who starts now, and the place from 1 of everyone who does not."""

    assignments: tuple[Assignment, ...]
    places: dict[str, int]


def plan(waiting: Sequence[Waiting], slots: Sequence[FreeSlot], now: datetime) -> Plan:
    """Higher priority first, then order of arrival; a tuning goes only where its estimated memory fits.

    The tightest slot that fits is taken, so that big devices stay free for what needs them. A tuning that
    fits nowhere just now does not hold up those behind it.
    """
    free = sorted(slots, key=lambda slot: (slot.memory, slot.worker, slot.index))
    assignments: list[Assignment] = []
    places: dict[str, int] = {}
    for one in sorted(waiting, key=lambda one: (-one.priority, one.created_at, one.tuning_id)):
        ripe = bool(free) and (one.not_before is None or one.not_before <= now)
        chosen = next((slot for slot in free if slot.memory >= one.memory), None) if ripe else None
        if chosen is None:
            places[one.tuning_id] = len(places) + 1
        else:
            free.remove(chosen)
            assignments.append(Assignment(one.tuning_id, one.attempt, chosen))
    return Plan(tuple(assignments), places)
