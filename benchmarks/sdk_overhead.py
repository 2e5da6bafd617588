"""What the SDK adds to a call beside bare httpx, and to a program's start beside `import httpx`.

    python -m benchmarks.sdk_overhead [--rounds 15] [--calls 200] [--imports 15]

A server in a process of its own answers every request with the same job. Both sides ask it for a job and read
its status, over one connection that is kept, in turns; the ratio is the SDK's time over httpx's, the median
of all rounds. Imports are timed in fresh interpreters, in turns as well.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from tunesmith import AsyncTuningClient, TuningClient

from benchmarks.report import median, table, written

GOAL = 1.2
KEY = "sk-benchmark"
ID = "job-abcdefghijklmnopqrstuvwx"
PATH = f"/v1/tunings.get/{ID}"
JOB: dict[str, Any] = {
    "id": ID,
    "object": "tuning.job",
    "model": "smollm2-135m-instruct",
    "status": "running",
    "phase": "training",
    "created_at": 1_699_564_800,
    "started_at": 1_699_564_860,
    "finished_at": None,
    "training_file": "file-abcdefghijklmnopqrstuvwx",
    "validation_file": None,
    "hyperparameters": {"rank": 16, "alpha": 32.0, "epochs": 3, "batch_size": 8, "learning_rate": 2e-4},
    "method": "supervised",
    "metadata": {"team": "a"},
    "seed": 7,
    "priority": 0,
    "metrics": {"train_loss": 0.245, "eval_loss": 0.312, "current_epoch": 2, "progress": 0.67},
    "result_files": [],
}
SERVER = """
import asyncio, sys

BODY = sys.argv[1].encode()
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\nx-request-id: req-1\\r\\n"
ANSWER += b"content-length: %d\\r\\n\\r\\n%s" % (len(BODY), BODY)

class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.asked = transport, b""

    def data_received(self, data):
        self.asked += data
        while b"\\r\\n\\r\\n" in self.asked:
            self.asked = self.asked.partition(b"\\r\\n\\r\\n")[2]
            self.transport.write(ANSWER)

async def serve():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(serve())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="The SDK's overhead beside bare httpx.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=200, help="of each side in a round")
    parser.add_argument("--imports", type=int, default=15)
    given = parser.parse_args()
    with served() as url:
        sides = {
            "a call": blocking(url, given.rounds, given.calls),
            "a call, async": asyncio.run(awaited(url, given.rounds, given.calls)),
        }
    sides["import"] = imports(given.imports)
    told(sides)


@contextmanager
def served() -> Iterator[str]:
    """A server of one answer, until the context ends."""
    command = [sys.executable, "-c", SERVER, json.dumps(JOB)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def blocking(url: str, rounds: int, calls: int) -> list[tuple[float, float]]:
    """Milliseconds of a call by httpx and by the SDK, for each round."""
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers) as bare, TuningClient(KEY, url) as client:

        def by_httpx() -> None:
            assert bare.get(PATH).raise_for_status().json()["status"] == "running"

        def by_sdk() -> None:
            assert client.tunings.get(ID).status == "running"

        def timed(call: Callable[[], None]) -> float:
            began = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - began) * 1000 / calls

        timed(by_httpx), timed(by_sdk)
        gc.collect()
        return [(timed(by_httpx), timed(by_sdk)) for _ in range(rounds)]


async def awaited(url: str, rounds: int, calls: int) -> list[tuple[float, float]]:
    """The same with coroutines."""
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers) as bare,
        AsyncTuningClient(KEY, url) as client,
    ):

        async def by_httpx() -> None:
            assert (await bare.get(PATH)).raise_for_status().json()["status"] == "running"

        async def by_sdk() -> None:
            assert (await client.tunings.get(ID)).status == "running"

        async def timed(call: Callable[[], Awaitable[None]]) -> float:
            began = time.perf_counter()
            for _ in range(calls):
                await call()
            return (time.perf_counter() - began) * 1000 / calls

        await timed(by_httpx), await timed(by_sdk)
        gc.collect()
        return [(await timed(by_httpx), await timed(by_sdk)) for _ in range(rounds)]


def imports(rounds: int) -> list[tuple[float, float]]:
    """Milliseconds of `import httpx` and of `import tunesmith`, for each round."""

    def timed(name: str) -> float:
        code = f"import time; began = time.perf_counter(); import {name}; print(time.perf_counter() - began)"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return float(ran.stdout) * 1000

    timed("httpx"), timed("tunesmith")  # the byte code is there from now on
    return [(timed("httpx"), timed("tunesmith")) for _ in range(rounds)]


def told(sides: dict[str, list[tuple[float, float]]]) -> None:
    """Print and write medians, ratios and goals."""
    figures, rows, goals = dict[str, Any](), list[list[str]](), dict[str, bool]()
    for name, rounds in sides.items():
        httpx_ms, sdk_ms = median([one for one, _ in rounds]), median([two for _, two in rounds])
        ratio = median([two / one for one, two in rounds])
        figures[name] = {"httpx_ms": httpx_ms, "sdk_ms": sdk_ms, "ratio": ratio}
        rows.append([name, f"{httpx_ms:.3f}", f"{sdk_ms:.3f}", f"{ratio:.2f}"])
        if name != "import":
            goals[f"{name}: at most {GOAL} x bare httpx"] = ratio <= GOAL
    print(table(["", "httpx ms", "tunesmith ms", "ratio"], rows))
    written("sdk_overhead", figures, goals)


if __name__ == "__main__":
    main()
