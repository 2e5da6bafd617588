"""What a plan is made of: the waiting, how accounts stand, slots free and taken, and the operator's rules."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from msgspec import Struct

SPARED_FIRST, SPARED = timedelta(minutes=1), timedelta(minutes=15)
SOON = timedelta(seconds=60)  # a slot that is free as soon as this is waited for
NEVER = datetime.max.replace(tzinfo=UTC)


class Rules(Struct, frozen=True):
    """What an operator may set. `half_life` in seconds; a `margin` of 0: nobody is preempted."""

    half_life: float = 86_400.0
    patience: timedelta = timedelta(days=1)
    margin: int = 1


RULES = Rules()


class Waiting(Struct, frozen=True, gc=False):
    """A tuning that waits; `memory` is its estimate in bytes, `attempt` the next attempt's number.

    One that has `started` waits for an attempt in place of a lost one, or to go on after a pause. It waits
    since `since`; None: since it was created.
    """

    tuning_id: str
    priority: int
    created_at: datetime
    memory: int
    attempt: int
    not_before: datetime | None = None
    account_id: str = ""
    started: bool = False
    since: datetime | None = None


class Standing(Struct, frozen=True, gc=False):
    """How an account stands now: `room` for so many attempts more, None: any number.

    `used` are its device-seconds, decayed, `held` its attempts. At `passed_on` its longest waiting last
    started: the next one's patience begins then.
    """

    room: int | None = None
    suspended: bool = False
    used: float = 0.0
    held: int = 0
    passed_on: datetime | None = None


FRESH = Standing()


class FreeSlot(Struct, frozen=True, gc=False):
    """A slot with nothing on it; `memory` is its device's, in bytes."""

    worker: str
    session: str
    index: int
    memory: int


class Running(Struct, frozen=True, gc=False):
    """A slot that is taken since `since`; its device's `memory` is in bytes.

    `tuning` is what runs there, as it would wait again; None when that has ended. `until` is when the slot is
    likely free, None where nothing tells; `leaving`: it is about to be; `returns`: since the tuning gives it
    back, and will wait again. Nobody is preempted before `spared_until`.
    """

    memory: int
    since: datetime
    tuning: Waiting | None = None
    until: datetime | None = None
    leaving: bool = False
    returns: bool = False
    spared_until: datetime | None = None


def used_after(used: float, held: int, seconds: float, half_life: float) -> float:
    """Decayed device-seconds so much later, with `held` attempts running meanwhile."""
    left: float = 0.5 ** (seconds / half_life)
    return used * left + held * (1 - left) * half_life / math.log(2)


def spared_until(attempt: int, since: datetime) -> datetime:
    """Until when an attempt is not preempted: it loads at first, and one after a lost one gets somewhere."""
    return since + (SPARED if attempt > 1 else SPARED_FIRST)
