"""How long `tunings.list` takes, by the number of jobs that the account has.

    python -m benchmarks.list_latency [--jobs 1000,1000000] [--rounds 5] [--seconds 2]

Two databases hold the read model of one log, filled further by COPY, one with few jobs of the account and one
with many; an api process answers from each. One client asks them in turns for pages of 20: the newest, those
of one status, and those behind the job in the middle.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from msgspec.structs import replace

from app import logs
from app.domain.decider import Recorded
from app.domain.ids import derive_id
from app.domain.tunings import TUNINGS, Created
from app.keys import account_id
from app.log.kafka import KafkaLog
from app.projections import read_model
from app.projections.fold import FOLDED, Row
from benchmarks.lives import create
from benchmarks.load import Measured, Plan, http_request, loaded
from benchmarks.report import median, table, written
from benchmarks.service import Service, another_api, running_service

GOAL = 1.5
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = (
    *("id", "version", "account_id", "status", "model", "created_at", "started_at", "finished_at"),
    *("metadata", "state"),
)
ONE_IN_PENDING = 100


def main() -> None:
    parser = argparse.ArgumentParser(description="Latency of tunings.list with few jobs and with many.")
    parser.add_argument("--jobs", default="1000,1000000", help="few, many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    given = parser.parse_args()
    counts = [int(one) for one in given.jobs.split(",")]
    measured: dict[str, list[list[Measured]]] = {}
    logs.configure("error")
    with running_service() as service, ExitStack() as stack:
        sides = []
        for count in counts:
            database = asyncio.run(_filled(service, count))
            sides.append(stack.enter_context(another_api(service, database)))
        for _ in range(given.rounds):
            for page in pages(counts[0]):
                both = []
                for count, address in zip(counts, sides, strict=True):
                    request = http_request("GET", f"/v1/tunings.list{pages(count)[page]}", service.key)
                    both.append(loaded(Plan((address,), request, 1, given.seconds, 0.5)))
                    if set(both[-1].statuses) != {200}:
                        raise RuntimeError(f"{page} of {count} jobs answered {both[-1].statuses}")
                measured.setdefault(page, []).append(both)
    told(measured, counts)


def pages(count: int) -> dict[str, str]:
    """Queries by what they ask for."""
    return {
        "the newest": "",
        "of one status": "?status=pending",
        "behind the middle": f"?after={derive_id('job', str(count // 2))}",
    }


async def _filled(service: Service, count: int) -> str:
    """A database with the read model of the service's log, and this many jobs more."""
    name = f"jobs_{count}"
    server = await asyncpg.connect(service.database)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()
    dsn = service.database.rpartition("/")[0] + f"/{name}"
    await read_model.prepare(dsn)
    await read_model.rebuild(KafkaLog(service.kafka), dsn)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "read"})
    try:
        await connection.copy_records_to_table("tunings", records=rows(count), columns=COLUMNS)
        await connection.execute("VACUUM ANALYZE tunings")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return dsn


def rows(count: int) -> Iterator[tuple[Any, ...]]:
    """A second between two jobs; one in a hundred is pending, the others were cancelled."""
    command = create("job")
    created = Created(**{name: getattr(command, name) for name in command.__struct_fields__})
    for number in range(count):
        id, at = derive_id("job", str(number)), BEGAN + timedelta(seconds=number)
        tuning = TUNINGS.evolve(None, created, Recorded(id, 1, at))
        ended = number % ONE_IN_PENDING != 0
        tuning = replace(tuning, account_id=account_id("default"))
        if ended:
            tuning = replace(tuning, status="cancelled", finished_at=at + timedelta(seconds=1))
        yield FOLDED["tunings"].columns(Row(id, 1 + ended, tuning))


def told(measured: dict[str, list[list[Measured]]], counts: list[int]) -> None:
    """Print and write medians over the rounds, and the goals."""
    table_rows: list[list[str]] = []
    figures: dict[str, Any] = {}
    goals: dict[str, bool] = {}
    for page, rounds in measured.items():
        few, many = ([both[side] for both in rounds] for side in (0, 1))
        ratio = median([large.p99 / small.p99 for small, large in zip(few, many, strict=True)])
        figures[page] = {
            "few": {"p50": median([one.p50 for one in few]), "p99": median([one.p99 for one in few])},
            "many": {"p50": median([one.p50 for one in many]), "p99": median([one.p99 for one in many])},
            "ratio": ratio,
        }
        goals[f"{page}: p99 at most {GOAL} x"] = ratio <= GOAL
        shown = [figures[page][side][key] for key in ("p50", "p99") for side in ("few", "many")]
        table_rows.append([page, *(f"{one:.1f}" for one in shown), f"{ratio:.2f}"])
    heads = [f"{key} ms, {count:,} jobs" for key in ("p50", "p99") for count in counts]
    print(table(["", *heads, "ratio"], table_rows))
    written("list_latency", figures, goals)


if __name__ == "__main__":
    main()
