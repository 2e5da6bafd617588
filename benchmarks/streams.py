"""Memory of the api process with many open event streams, and how long an event takes to the last of them.

    python -m benchmarks.streams [--clients 1000] [--tunings 1,100] [--events 20]

The whole service as `up` runs it, with one api process. The clients follow one tuning, then a hundred. Steps
and events are put on the log as a trainer worker does, for all tunings in turns; the time is from then to the
frame at the last client that follows.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import psutil
from msgspec import Struct
from tunesmith import AsyncTuningClient

from app.domain.ids import derive_id
from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    Checkpoint,
    ReportCheckpoint,
    ReportStarted,
)
from app.log.codec import command_record
from app.log.kafka import KafkaLog
from app.log.metrics import Step, metric_record
from app.log.port import Writer
from benchmarks.report import percentile, table, written
from benchmarks.service import Service, running_service

MODEL = "smollm2-135m-instruct"
ROW = b'{"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}\n'
MIB = 1024**2
WITHIN = 20.0
STEP_GOAL_MS = 1000.0
MEMORY_GOAL = 100.0


class Taken(Struct, frozen=True):
    """What was measured with so many tunings followed: bytes of memory, milliseconds to the last client."""

    memory: int
    steps: list[float]
    events: list[float]


class Client(asyncio.Protocol):
    """One open stream, which counts the frames that have an event or a step in them."""

    def __init__(self, request: bytes, on_frames: Callable[[int], None]) -> None:
        self._request, self._on_frames = request, on_frames
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        whole = self._rest + data
        if found := whole.count(b"\ndata: "):
            self._on_frames(found)
        self._rest = data[-7:] if not data.endswith(b"\n\n") else b""


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and latency of many open event streams.")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--tunings", default="1,100", help="how many of them are followed")
    parser.add_argument("--events", type=int, default=20, help="steps, and events, of each measurement")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with running_service() as service:
        process = _api(service)
        rest = process.memory_info().rss
        taken = {
            int(count): asyncio.run(_measured(service, process, given.clients, int(count), given.events))
            for count in given.tunings.split(",")
        }
    told(given.clients, rest, taken)


def _api(service: Service) -> psutil.Process:
    """The service's api process."""
    port = urlsplit(service.url).port
    for process in psutil.process_iter(["cmdline"]):
        is_api = (process.info["cmdline"] or [])[-2:] == ["run", "api"]
        if is_api and any(one.laddr.port == port for one in process.net_connections("tcp")):
            return process
    raise RuntimeError("the api process was not found")


async def _measured(
    service: Service, process: psutil.Process, clients: int, tunings: int, events: int
) -> Taken:
    log = KafkaLog(service.kafka)
    writer = await log.writer()
    ids = await _begun(service, writer, tunings)
    loop, came, wanted, all_came = asyncio.get_running_loop(), 0, 0, asyncio.Event()

    def on_frames(count: int) -> None:
        nonlocal came
        came += count
        if came >= wanted:
            all_came.set()

    async def arrived(frames: int, what: Awaitable[Any] | None = None) -> float:
        """Milliseconds until so many more frames have come."""
        nonlocal wanted
        wanted += frames
        all_came.clear()
        if came >= wanted:
            all_came.set()
        began = time.perf_counter()
        if what is not None:
            await what
        async with asyncio.timeout(WITHIN):
            await all_came.wait()
        return (time.perf_counter() - began) * 1000

    there = urlsplit(service.url)
    host, port = str(there.hostname), int(there.port or 0)
    opened = []
    for number in range(clients):
        id = ids[number % tunings]
        client = Client(_request(id, service.key), on_frames)
        await loop.create_connection(lambda client=client: client, host, port)  # type: ignore[misc]
        opened.append(client)
    await arrived(3 * clients)  # created, dispatched, started
    followers = [len(range(number, clients, tunings)) for number in range(tunings)]
    steps, happened = [], []
    for number in range(1, events + 1):
        place = number % tunings
        step = Step(1, number, 0.5, 1.25, 1e-4, 0.5, 100, 50.0, 2.0, 1000, 1, 0)
        record = metric_record(ids[place], step, worker="bench")
        steps.append(await arrived(followers[place], writer.send(record)))
        checkpoint = Checkpoint(number, 1, 0, f"checkpoints/x/{number}", "ab", 100)
        told = _sent(writer, ids[place], ReportCheckpoint(1, "s", checkpoint))
        happened.append(await arrived(followers[place], told))
    memory = process.memory_info().rss
    for client in opened:
        client.transport.close()
    await writer.close()
    return Taken(memory, steps, happened)


def _request(id: str, key: str) -> bytes:
    return (
        f"GET /v1/tunings.events/{id} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n"
        f"authorization: Bearer {key}\r\n\r\n"
    ).encode()


async def _begun(service: Service, writer: Writer, count: int) -> list[str]:
    """The ids of so many running tunings."""
    async with AsyncTuningClient(service.key, base_url=service.url) as client:
        file = (await client.files.upload(ROW, filename="row.jsonl")).id
        ids = [(await client.tunings.create(MODEL, file)).id for _ in range(count)]
        for id in ids:
            await _sent(writer, id, AssignAttempt(Attempt(1, "bench", "s", 0)))
            await _sent(writer, id, ReportStarted(1, "s"))
        while (await client.tunings.get(ids[-1])).status != "running":
            await asyncio.sleep(0.02)
    return ids


async def _sent(writer: Writer, id: str, body: Any) -> None:
    what = derive_id("cmd", id, repr(body))
    await writer.send(
        command_record(
            TUNINGS,
            id=what,
            aggregate_id=id,
            actor="worker:bench",
            correlation_id=what,
            source="bench",
            body=body,
        )
    )


def told(clients: int, rest: int, taken: dict[int, Taken]) -> None:
    """Print and write the figures, and the goals."""
    rows = [["at rest", f"{rest / MIB:.0f}", "", "", "", "", ""]]
    figures: dict[str, Any] = {"clients": clients, "rest_mib": rest / MIB}
    goals: dict[str, bool] = {}
    for tunings, one in taken.items():
        each = (one.memory - rest) / clients / 1024
        row = [f"{clients} clients, {tunings} tunings", f"{one.memory / MIB:.0f}", f"{each:.0f}"]
        here: dict[str, float] = {"memory_mib": one.memory / MIB, "kib_each": each}
        for name, times in (("step", one.steps), ("event", one.events)):
            here |= {f"{name}_p50": statistics.median(times), f"{name}_worst": max(times)}
            row += [f"{statistics.median(times):.0f}", f"{percentile(times, 99):.0f}"]
        rows.append(row)
        figures[f"{tunings}_tunings"] = here
        goals[f"{tunings} tunings: a step at every client within a second"] = max(one.steps) <= STEP_GOAL_MS
        goals[f"{tunings} tunings: at most {MEMORY_GOAL:g} KiB for each client"] = each <= MEMORY_GOAL
    heads = ["", "MiB", "KiB each", "step p50 ms", "step worst", "event p50 ms", "event worst"]
    print(table(heads, rows))
    written("streams", figures, goals)


if __name__ == "__main__":
    main()
