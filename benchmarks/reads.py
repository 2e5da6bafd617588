"""Reads a second and their latency, ours beside the source document's own stack.

    python -m benchmarks.reads [--clients 1,16,64] [--jobs 1000] [--rounds 3]

One api process of each side, over the same PostgreSQL server with equally many jobs: one job by its id, and
the first page of 20. Clients keep their connections; the sides take turns in every round.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import msgspec
from msgspec import Struct
from tunesmith import AsyncTuningClient

from benchmarks import reference
from benchmarks.load import Measured, Plan, http_request, loaded
from benchmarks.report import median, table, written
from benchmarks.service import Service, running_service
from benchmarks.submissions import HYPERPARAMETERS, MODEL, PATH, ROW

GOAL = 2.0
AT_ONCE = 16


class Side(Struct, frozen=True):
    """Where an api answers, with which key, and a job that is there."""

    address: tuple[str, int]
    key: str
    job: str

    def request(self, what: str) -> bytes:
        """A read, ready to be sent."""
        path = f"/v1/tunings.get/{self.job}" if what == "get" else "/v1/tunings.list"
        return http_request("GET", path, self.key)


def main() -> None:
    parser = argparse.ArgumentParser(description="Reads a second, ours beside the reference stack.")
    parser.add_argument("--clients", default="1,16,64", help="numbers of clients")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of the account")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each")
    given = parser.parse_args()
    clients = [int(one) for one in given.clients.split(",")]
    measured: dict[tuple[str, int, str], list[Measured]] = {}
    with running_service() as service, reference.running_reference(service.database, 1) as classic:
        sides = {
            "ours": asyncio.run(_ours(service, given.jobs)),
            "classic": asyncio.run(_classic(classic.addresses[0], given.jobs)),
        }
        asyncio.run(_analysed(service.database))
        for _ in range(given.rounds):
            for what in ("get", "list"):
                for count in clients:
                    for name, side in sides.items():
                        plan = Plan((side.address,), side.request(what), count, given.seconds, given.warm_up)
                        found = loaded(plan)
                        if set(found.statuses) != {200}:
                            raise RuntimeError(f"{name} answered {what} with {found.statuses}")
                        measured.setdefault((what, count, name), []).append(found)
                        print(what, count, name, f"{found.per_second:.0f}/s", file=sys.stderr)
    told(measured)


async def _ours(service: Service, jobs: int) -> Side:
    there = urlsplit(service.url)
    async with AsyncTuningClient(service.key, base_url=service.url) as client:
        file = (await client.files.upload(ROW, filename="row.jsonl")).id
    body = {"model": MODEL, "training_file": file, "hyperparameters": HYPERPARAMETERS, "suffix": "mails"}
    address = str(there.hostname), int(there.port or 0)
    return Side(address, service.key, await _created(address, service.key, body, jobs))


async def _classic(address: tuple[str, int], jobs: int) -> Side:
    body = {
        "model": reference.MODEL,
        "training_file": reference.FILE,
        "hyperparameters": HYPERPARAMETERS,
        "suffix": "mails",
    }
    return Side(address, reference.KEY, await _created(address, reference.KEY, body, jobs))


async def _created(address: tuple[str, int], key: str, body: dict[str, Any], jobs: int) -> str:
    """Create so many jobs; the id of the last."""
    host, port = address
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    content, left, id = msgspec.json.encode(body), jobs, ""
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=headers, timeout=30) as client:

        async def some() -> None:
            nonlocal left, id
            while left > 0:
                left -= 1
                answer = await client.post(PATH, content=content)
                answer.raise_for_status()
                id = answer.json()["id"]

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return id


async def _analysed(database: str) -> None:
    """Let PostgreSQL know its tables on both sides, as it does by itself within a minute.

    Until then plans made when they were empty are kept, and read every waiting job for each listed one.
    """
    for dsn in (database, database.rpartition("/")[0] + "/reference"):
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("ANALYZE")
        finally:
            await connection.close()


def told(measured: dict[tuple[str, int, str], list[Measured]]) -> None:
    """Print and write medians over the rounds, and the goals."""
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    goals: dict[str, bool] = {}
    for (what, count, name), rounds in measured.items():
        here = {key: median([getattr(one, key) for one in rounds]) for key in ("per_second", "p50", "p99")}
        ours = measured[what, count, "ours"]
        pairs = list(zip(ours, rounds, strict=True))
        throughput = median([one.per_second / other.per_second for one, other in pairs])
        p99 = median([one.p99 / other.p99 for one, other in pairs])
        figures.append(
            {"what": what, "clients": count, "side": name, **here, "ours": throughput, "ours_p99": p99}
        )
        shown = [f"{here['per_second']:,.0f}", f"{here['p50']:.1f}", f"{here['p99']:.1f}"]
        against = [f"{throughput:.1f} x", f"{p99:.2f} x"] if name != "ours" else ["", ""]
        rows.append([f"{what}, {count} clients, {name}", *shown, *against])
        if name != "ours":
            goals[f"{what}, {count} clients: {GOAL:g} x the throughput"] = throughput >= GOAL
            goals[f"{what}, {count} clients: p99 at most 1 / {GOAL:g}"] = p99 <= 1 / GOAL
    print(table(["", "reads/s", "p50 ms", "p99 ms", "ours /s", "ours p99"], rows))
    written("reads", {"reads": figures}, goals)


if __name__ == "__main__":
    main()
