"""A fleet simulated by the very planner: waiting times, utilisation and fairness, beside FIFO and priority.

    python -m benchmarks.planner_simulation [--jobs 100000] [--devices 1000] [--accounts 50] [--tick 60]

Accounts come in bursts, of very unequal numbers of jobs; how long these take is heavy-tailed; devices are of
four sizes, and priorities of three levels. Every simulated tick is one `plan`. For comparison the same
planner is told less: `fifo` neither priorities nor accounts, `priority` no accounts.

Fairness is Jain's index (1: all alike) over accounts of the device-seconds that each had per second of having
anything waiting, up to the last arrival; slowdown is a job's time from arrival to end by what it takes alone.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from app.scheduler.planner import plan
from app.scheduler.queueing import (
    FreeSlot,
    Rules,
    Running,
    Standing,
    Waiting,
    spared_until,
    used_after,
)
from benchmarks.report import percentile, written

GIB = 1024**3
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SIZES = {24 * GIB: 0.5, 40 * GIB: 0.2, 80 * GIB: 0.2, 141 * GIB: 0.1}
LOADED_ANEW = 30.0  # seconds that an attempt after a preempted one takes before it goes on
PLANNERS = {
    "fifo": Rules(patience=timedelta(days=9999), margin=0),
    "priority": Rules(patience=timedelta(days=9999), margin=0),
    "fair": Rules(margin=0),
    "fair, preempting": Rules(),
}


class Job(Struct, frozen=True):
    """Something to be trained: seconds from the beginning, and how long it takes."""

    id: str
    account: str
    arrival: float
    seconds: float
    memory: int
    priority: int


class Outcome(Struct, frozen=True):
    """What became of a trace."""

    waits: dict[str, float]
    ends: dict[str, float]
    served: dict[str, float]  # device-seconds per second with anything waiting, by account
    utilisation: float  # until the last arrival
    preemptions: int
    lost: float  # device-seconds of loading anew
    plans: list[float]  # seconds each

    @property
    def fairness(self) -> float:
        """Jain's index of what the accounts were served."""
        shares = list(self.served.values())
        return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)) if shares else 1.0


def trace(jobs: int, devices: int, accounts: int, seed: int, load: float = 1.0) -> list[Job]:
    """Jobs in order of arrival, as many device-seconds as the devices have until the last one comes."""
    drawn = random.Random(seed)
    weights = [1 / (1 + number) for number in range(accounts)]  # a few accounts have most of them
    found: list[tuple[float, str, float, int, int]] = []
    sizes, shares = list(SIZES), list(SIZES.values())
    while len(found) < jobs:
        [number] = drawn.choices(range(accounts), weights)
        burst, begin = 1 + int(drawn.paretovariate(1.1)), drawn.random()
        priority = drawn.choices((0, 1, 2), (8, 1, 1))[0]
        for _ in range(min(burst, 400, jobs - len(found))):
            seconds = min(86_400.0, drawn.lognormvariate(7.0, 1.3))
            [size] = drawn.choices(sizes, shares)
            memory = int(size * (0.5 + drawn.random() / 2))
            found.append((begin, f"a{number:02}", seconds, memory, priority))
    span = sum(seconds for _, _, seconds, _, _ in found) / (devices * load)
    found.sort()
    return [
        Job(f"job-{number:06}", account, begin * span, seconds, memory, priority)
        for number, (begin, account, seconds, memory, priority) in enumerate(found)
    ]


def fleet(devices: int) -> list[FreeSlot]:
    """Devices of the sizes there are, eight a worker."""
    sizes = [size for size, share in SIZES.items() for _ in range(round(devices * share))]
    sizes = (sizes + [max(SIZES)] * devices)[:devices]
    return [FreeSlot(f"w{number // 8:03}", "s", number % 8, size) for number, size in enumerate(sizes)]


def simulate(jobs: Sequence[Job], slots: Sequence[FreeSlot], name: str, tick: float) -> Outcome:
    """Play a trace, one plan a tick. Raises `AssertionError` if a slot would be given twice."""
    rules = PLANNERS[name]
    known = {job.id: job for job in jobs}
    left = {job.id: job.seconds for job in jobs}
    free, held = dict.fromkeys(slots), dict[FreeSlot, Running]()
    waiting: dict[str, Waiting] = {}
    used: dict[str, list[float]] = {job.account: [0.0, 0] for job in jobs}  # device-seconds, and attempts now
    passed_on: dict[str, datetime] = {}
    waits: dict[str, float] = {}
    ends: dict[str, float] = {}
    going: list[tuple[float, int, FreeSlot, Running]] = []
    backlog, served = dict.fromkeys(used, 0.0), dict.fromkeys(used, 0.0)
    busy = lost = now = 0.0
    preemptions = number = arrived = 0
    plans: list[float] = []
    last = jobs[-1].arrival
    while len(ends) < len(jobs):
        while arrived < len(jobs) and jobs[arrived].arrival <= now:
            job = jobs[arrived]
            waiting[job.id] = _waiting(job, name)
            arrived += 1
        while going and going[0][0] <= now:
            end, _, slot, one = heapq.heappop(going)
            if held.get(slot) is not one or one.tuning is None:
                continue
            del held[slot]
            free[slot] = None
            id = one.tuning.tuning_id
            used[known[id].account][1] -= 1
            if one.returns:
                waiting[id] = replace(one.tuning, since=BEGIN + timedelta(seconds=now))
            else:
                ends[id] = end
        at = BEGIN + timedelta(seconds=now)
        standings = {
            id: Standing(used=spent, held=int(attempts), passed_on=passed_on.get(id))
            for id, (spent, attempts) in used.items()
        }
        began = time.perf_counter()
        made = plan(list(waiting.values()), list(free), at, standings, list(held.values()), rules)
        plans.append(time.perf_counter() - began)
        for given in made.assignments:
            starts = waiting.pop(given.tuning_id)
            assert given.slot in free, f"{given.slot} is given twice"
            assert given.slot.memory >= starts.memory, f"{starts} is given too little"
            del free[given.slot]
            waits.setdefault(given.tuning_id, now - known[given.tuning_id].arrival)
            if given.longest:
                passed_on[starts.account_id] = at
            used[known[starts.tuning_id].account][1] += 1
            until = at + timedelta(seconds=left[starts.tuning_id])
            again = replace(starts, attempt=starts.attempt + 1, started=True, since=None)
            held[given.slot] = running = Running(
                given.slot.memory, at, again, until, spared_until=spared_until(starts.attempt, at)
            )
            number += 1
            heapq.heappush(going, (now + left[starts.tuning_id], number, given.slot, running))
        taken = set(map(id_of, made.preempted))
        for slot in [slot for slot, one in held.items() if id_of(one) in taken]:
            one = held[slot]
            assert one.tuning is not None
            assert one.until is not None
            preemptions, lost, number = preemptions + 1, lost + LOADED_ANEW, number + 1
            left[one.tuning.tuning_id] = (one.until - at).total_seconds() + LOADED_ANEW
            held[slot] = leaves = replace(one, leaving=True, returns=True, until=at + timedelta(seconds=10))
            heapq.heappush(going, (now + 10, number, slot, leaves))
        if now <= last:
            busy += len(held) * tick
            for account in {known[id].account for id in waiting}:
                backlog[account] += tick
                served[account] += used[account][1] * tick
        for account, (spent, attempts) in used.items():
            used[account][0] = used_after(spent, int(attempts), tick, rules.half_life)
        now += tick
    shares = {account: served[account] / seconds for account, seconds in backlog.items() if seconds > 3600}
    return Outcome(waits, ends, shares, busy / (len(slots) * (last + tick)), preemptions, lost, plans)


def id_of(one: Running) -> str:
    """What tells a running one apart."""
    return one.tuning.tuning_id if one.tuning is not None else ""


def _waiting(job: Job, name: str) -> Waiting:
    """A job, with as much about it as the planner of this name is to know."""
    return Waiting(
        job.id,
        job.priority if name != "fifo" else 0,
        BEGIN + timedelta(seconds=job.arrival),
        job.memory,
        1,
        account_id=job.account if name.startswith("fair") else "",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="A fleet simulated by the very planner.")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--tick", type=float, default=60.0, help="simulated seconds")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    jobs, slots = trace(given.jobs, given.devices, given.accounts, given.seed), fleet(given.devices)
    figures: dict[str, float] = {}
    rows, outcomes = [], {}
    for name in PLANNERS:
        began = time.perf_counter()
        outcomes[name] = one = simulate(jobs, slots, name, given.tick)
        took = time.perf_counter() - began
        row = _figures(one, jobs) | {"simulated in s": took}
        figures |= {f"{name}: {what}": value for what, value in row.items()}
        rows.append([name, *(f"{value:,.2f}" for value in row.values())])
        print(f"{name}: {len(one.plans):,} plans in {took:.0f} s", flush=True)
    for place, head in enumerate(row, 1):
        rows_of = [line[place] for line in rows]
        print(f"{head:<32}" + "".join(f"{value:>18}" for value in rows_of))
    print(" " * 32 + "".join(f"{line[0]:>18}" for line in rows))
    written(
        "planner_simulation",
        figures,
        {
            "fair share is fairer than FIFO": outcomes["fair"].fairness > outcomes["fifo"].fairness,
            "each simulation within 5 minutes": max(
                value for name, value in figures.items() if name.endswith("simulated in s")
            )
            < 300,
        },
    )


def _figures(one: Outcome, jobs: Sequence[Job]) -> dict[str, float]:
    waits = list(one.waits.values())
    slowdowns: dict[str, list[float]] = {}
    for job in jobs:
        slowdowns.setdefault(job.account, []).append((one.ends[job.id] - job.arrival) / job.seconds)
    by_account = [statistics.median(values) for values in slowdowns.values()]
    urgent = [one.waits[job.id] for job in jobs if job.priority == 2]
    return {
        "waiting, mean s": statistics.fmean(waits),
        "waiting, p50 s": percentile(waits, 50),
        "waiting, p95 s": percentile(waits, 95),
        "waiting, p99 s": percentile(waits, 99),
        "waiting, max s": max(waits),
        "waiting at priority 2, p95 s": percentile(urgent, 95),
        "utilisation, %": one.utilisation * 100,
        "Jain's index of accounts": one.fairness,
        "slowdown, median account": statistics.median(by_account),
        "slowdown, worst account": max(by_account),
        "preemptions": one.preemptions,
        "device-hours loading anew": one.lost / 3600,
        "a plan, mean ms": statistics.fmean(one.plans) * 1000,
        "a plan, max ms": max(one.plans) * 1000,
    }


if __name__ == "__main__":
    main()
