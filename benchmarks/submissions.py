"""Creates a second and their latency, ours beside the source document's own stack.

    python -m benchmarks.submissions [--clients 1,16,64,256] [--sides ours:1,…,classic:2] [--rounds 3]

`ours:n` is the whole service as `up` runs it, with n api processes, which answers when the read model shows
the job. `classic:n` is the stack of `benchmarks/reference_stack/` with n api processes, on the same
PostgreSQL server. Both check the key, validate the body, look up file and model, and answer with the whole
object; neither trains. Clients keep their connections; the sides take turns in every round.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import asdict
from tunesmith import AsyncTuningClient

from benchmarks import reference
from benchmarks.load import Measured, Plan, http_request, loaded
from benchmarks.report import median, table, written
from benchmarks.service import Service, another_api, running_service

MODEL = "smollm2-135m-instruct"
ROW = b'{"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}\n'
HYPERPARAMETERS = {"rank": 8, "epochs": 3, "batch_size": 16, "learning_rate": 3e-4, "max_length": 1024}
PATH = "/v1/tunings.create"

Side = tuple[str, int]
Rounds = dict[Side, dict[int, list[Measured]]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Creates a second, ours beside the reference stack.")
    parser.add_argument("--clients", default="1,16,64,256", help="numbers of clients")
    parser.add_argument(
        "--sides", default="ours:1,ours:2,classic:1,classic:2", help="what to measure, in turns"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each")
    given = parser.parse_args()
    clients = [int(one) for one in given.clients.split(",")]
    sides: list[Side] = [
        (one.partition(":")[0], int(one.partition(":")[2])) for one in given.sides.split(",")
    ]
    with running_service() as service, ExitStack() as stack:
        ours, classic = _ours(service, sides, stack), _classic(service, sides, stack)
        rounds: Rounds = {side: {count: [] for count in clients} for side in sides}
        for _ in range(given.rounds):
            for count in clients:
                for side in sides:
                    addresses, request = ours if side[0] == "ours" else classic
                    plan = Plan(addresses[: side[1]], request, count, given.seconds, given.warm_up)
                    measured = loaded(plan)
                    if set(measured.statuses) != {201}:
                        raise RuntimeError(f"{side} at {count} clients answered {measured.statuses}")
                    rounds[side][count].append(measured)
                    print(side, count, f"{measured.per_second:.0f}/s", file=sys.stderr)
    told(rounds, clients)


def _ours(service: Service, sides: list[Side], stack: ExitStack) -> tuple[tuple[tuple[str, int], ...], bytes]:
    file = asyncio.run(_uploaded(service))
    body = {"model": MODEL, "training_file": file, "hyperparameters": HYPERPARAMETERS, "suffix": "mails"}
    there = urlsplit(service.url)
    addresses = [(str(there.hostname), int(there.port or 0))]
    more = max((count for name, count in sides if name == "ours"), default=1) - 1
    addresses += [stack.enter_context(another_api(service, service.database)) for _ in range(more)]
    return tuple(addresses), http_request("POST", PATH, service.key, msgspec.json.encode(body))


async def _uploaded(service: Service) -> str:
    async with AsyncTuningClient(service.key, base_url=service.url) as client:
        return (await client.files.upload(ROW, filename="row.jsonl")).id


def _classic(
    service: Service, sides: list[Side], stack: ExitStack
) -> tuple[tuple[tuple[str, int], ...], bytes]:
    processes = max((count for name, count in sides if name == "classic"), default=0)
    if not processes:
        return (), b""
    running = stack.enter_context(reference.running_reference(service.database, processes))
    body = {
        "model": reference.MODEL,
        "training_file": reference.FILE,
        "hyperparameters": HYPERPARAMETERS,
        "suffix": "mails",
    }
    return running.addresses, http_request("POST", PATH, reference.KEY, msgspec.json.encode(body))


class Compared(Struct, frozen=True):
    """A reference side against ours within the same rounds: ours over it, in medians."""

    ours: str
    throughput: float
    p99: float


def compared(rounds: Rounds, side: Side, count: int) -> Compared | None:
    """Against equally many api processes of ours where they were measured, else against one."""
    against = next((one for one in (("ours", side[1]), ("ours", 1)) if one in rounds), None)
    if side[0] == "ours" or against is None:
        return None
    pairs = list(zip(rounds[against][count], rounds[side][count], strict=True))
    return Compared(
        f"ours:{against[1]}",
        median([ours.per_second / theirs.per_second for ours, theirs in pairs]),
        median([ours.p99 / theirs.p99 for ours, theirs in pairs]),
    )


def told(rounds: Rounds, clients: list[int]) -> None:
    """Print and write medians over the rounds, and the goals."""
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    goals: dict[str, bool] = {}
    for count in clients:
        for side, measured in rounds.items():
            name = f"{side[0]}:{side[1]}"
            here = {
                what: median([getattr(one, what) for one in measured[count]])
                for what in ("per_second", "p50", "p99")
            }
            against = compared(rounds, side, count)
            figures.append(
                {"side": name, "clients": count, **here, "ours": asdict(against) if against else None}
            )
            rows.append(
                [
                    f"{count} clients, {name}",
                    f"{here['per_second']:,.0f}",
                    f"{here['p50']:.1f}",
                    f"{here['p99']:.1f}",
                    f"{against.throughput:.1f} x" if against else "",
                    f"{against.p99:.2f} x" if against else "",
                    against.ours if against else "",
                ]
            )
            if side == ("ours", 1) and count == 1:
                goals["one client: p50 under 10 ms"] = here["p50"] < 10
            if against and against.ours == f"ours:{side[1]}" and count >= 64:
                goals[f"{count} clients: 6 x the throughput of {name}"] = against.throughput >= 6
                goals[f"{count} clients: p99 a third of {name}'s"] = against.p99 <= 1 / 3
    print(table(["", "creates/s", "p50 ms", "p99 ms", "ours /s", "ours p99", "of"], rows))
    written("submissions", {"sides": figures}, goals)


if __name__ == "__main__":
    main()
