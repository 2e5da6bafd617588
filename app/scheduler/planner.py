"""The plan: waiting tunings onto free slots. Pure: what comes in decides what comes out.

Whose turn it is, again and again until nobody can start any more:

1. Whoever is **due**: of each account the one that has waited longest, once it has been that for `patience`;
   those due for longest first, whatever their priority.
2. Then higher priority first.
3. Within one priority the account that used the least: its device-seconds, decayed, and `RESERVED` for each
   attempt it has now. Within an account, order of arrival.

Nobody is looked at whose account has no room, who waits out a delay, or whom no free slot fits; so nobody
holds up those behind. A tuning takes the tightest slot that fits, and big devices stay free for what needs
them.

**Nobody starves.** Let a tuning be its account's longest waiting of those that fit a device there is. Once
that was so for `patience`, no more than one tuning of each other account starts before it on a device that
fits it: who is due for longer was its account's longest waiting before, and who follows there begins to wait
for `patience` anew. It needs one slot and gets the next one that fits, so nothing is kept free for it. One
with m older ones of its own account waits for each of them so first.

**Preemption.** Who cannot start for want of a slot, and is of a priority higher by `margin` than a running
tuning in whose slot it fits, has that one give its slot back: the lowest priority first, then whoever ran
least. Not while a slot is coming that it could have, and never for the good of somebody else: those before it
in turn who have no such right would take the slot. An attempt is spared at first, and for longer when it
follows a lost one, so that even who is preempted again and again gets on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from app.scheduler.queueing import RULES, FreeSlot, Rules, Running, Standing, Waiting
from app.scheduler.turns import Turns


class Assignment(Struct, frozen=True):
    """This tuning's next attempt goes to this slot; `longest`: none of its account waited longer."""

    tuning_id: str
    attempt: int
    slot: FreeSlot
    account_id: str = ""
    longest: bool = False


class Plan(Struct, frozen=True):
    """Who starts now, who gives back, and the place from 1 of all others who wait for nothing but a turn."""

    assignments: tuple[Assignment, ...]
    places: dict[str, int]
    preempted: tuple[Running, ...] = ()


def plan(
    waiting: Sequence[Waiting],
    slots: Sequence[FreeSlot],
    now: datetime,
    standings: Mapping[str, Standing] | None = None,
    running: Sequence[Running] = (),
    rules: Rules = RULES,
) -> Plan:
    """What is to be done now. `running` has every slot of a living worker that is not free.

    What a suspended account has waiting waits on, without a place; what it has started goes on to its end.
    """
    sizes = {slot.memory for slot in slots} | {one.memory for one in running}
    turns = Turns(waiting, standings or {}, sizes, now, rules)
    for slot in sorted(slots, key=lambda slot: (slot.worker, slot.index), reverse=True):
        turns.free(slot)
    assignments = tuple(
        Assignment(one.tuning_id, one.attempt, slot, one.account_id, longest)
        for one, slot, longest in turns.start(now)
    )
    return Plan(assignments, turns.places(now), tuple(turns.preempt(running, now)))
