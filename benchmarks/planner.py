"""Time of a plan: 10,000 tunings that wait for 1,000 devices, all taken, many free, and with preemption.

    python -m benchmarks.planner [--waiting 10000] [--devices 1000] [--rounds 40]

It is processor time: a plan waits for nothing, and is made in a thread beside its role's loop.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.scheduler.forecast import forecast
from app.scheduler.planner import plan
from app.scheduler.queueing import FreeSlot, Running, Standing, Waiting
from benchmarks.report import percentile, table, written

GOAL = 50.0  # ms
GIB = 1024**3
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SIZES = (24 * GIB, 40 * GIB, 80 * GIB, 141 * GIB)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of a plan.")
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    drawn = random.Random(7)
    waiting = [_waiting(number, given.accounts, drawn) for number in range(given.waiting)]
    slots = [FreeSlot(f"w{n // 8}", "s", n % 8, drawn.choice(SIZES)) for n in range(given.devices)]
    held = [_running(slot, number, given.accounts, drawn) for number, slot in enumerate(slots)]
    standings = {f"a{n}": Standing(used=drawn.random() * 1e6, held=10) for n in range(given.accounts)}
    alike = [one for one in waiting if one.priority == 0]
    scarce = slots[: given.devices // 20]
    cases: dict[str, Callable[[], object]] = {
        "all devices taken": lambda: plan(waiting, [], NOW, standings, _above(held)),
        "all devices free": lambda: plan(waiting, slots, NOW, standings, []),
        "one in twenty free": lambda: plan(waiting, scarce, NOW, standings, _above(held[len(scarce) :])),
        "many to be preempted": lambda: plan(waiting, [], NOW, standings, held),
    }
    figures: dict[str, float] = {}
    rows = []
    for name, work in cases.items():
        times = _times(work, given.rounds)
        figures[f"{name}, p50 ms"], figures[f"{name}, p99 ms"] = percentile(times, 50), percentile(times, 99)
        rows.append([name, f"{percentile(times, 50):.1f}", f"{percentile(times, 99):.1f}"])
    seconds = {one.tuning_id: 60 + drawn.random() * 7200 for one in waiting}
    [took] = _times(lambda: forecast(alike, [], _above(held), NOW, standings, seconds), 1)
    figures["forecast of all starts, ms"] = took
    print(table([f"{given.waiting:,} waiting, {given.devices:,} devices", "p50 ms", "p99 ms"], rows))
    print(f"a forecast of all starts takes {took:,.0f} ms, in a thread, at most a fiftieth of the time")
    written(
        "planner",
        figures,
        {f"{name}: p99 of a plan ≤ {GOAL:.0f} ms": figures[f"{name}, p99 ms"] <= GOAL for name in cases},
    )


def _waiting(number: int, accounts: int, drawn: random.Random) -> Waiting:
    came = NOW - timedelta(seconds=drawn.random() * 90_000)
    memory = int(drawn.choice(SIZES) * drawn.random())
    priority = drawn.choice((0, 0, 0, 0, 1))
    return Waiting(f"job-{number:06}", priority, came, memory, 1, None, f"a{number % accounts}")


def _running(slot: FreeSlot, number: int, accounts: int, drawn: random.Random) -> Running:
    since = NOW - timedelta(seconds=drawn.random() * 9_000)
    of = Waiting(f"run-{number:06}", 0, since, slot.memory, 2, None, f"a{number % accounts}", started=True)
    return Running(slot.memory, since, of, NOW + timedelta(seconds=drawn.random() * 9_000))


def _above(held: list[Running]) -> list[Running]:
    """The same, of which nobody can be preempted."""
    spared = NOW + timedelta(days=1)
    return [Running(one.memory, one.since, one.tuning, one.until, spared_until=spared) for one in held]


def _times(work: Callable[[], object], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        times.append((time.thread_time() - began) * 1000)
    return times


if __name__ == "__main__":
    main()
