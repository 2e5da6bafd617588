"""A running `tunesmith-server up` in a folder of its own, for measuring."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from app.embedded import ports
from app.embedded.addresses import read_addresses

SERVER = (sys.executable, "-m", "app.cli")
STARTS_WITHIN = 30.0


class Service(Struct, frozen=True):
    """Where it answers, an admin key, the broker's address and the database's."""

    url: str
    key: str
    kafka: str
    database: str
    folder: Path


@contextmanager
def running_service(slots: int = 0) -> Iterator[Service]:
    """A service with no limit on creates; without slots nothing is trained. Raises `RuntimeError`."""
    environment = os.environ | {
        "TUNESMITH_SLOTS": str(slots),
        "TUNESMITH_CREATES_PER_MINUTE": "0",
        "TUNESMITH_LOG_LEVEL": "warning",
    }
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        server = subprocess.Popen(
            [*SERVER, "up", "--data-dir", folder, "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line.startswith("READY "):
                raise RuntimeError("the service did not start; its log above says why")
            root = Path(folder)
            key = (root / "admin.key").read_text().strip()
            addresses = read_addresses(root)
            assert addresses is not None
            yield Service(line.split()[1], key, addresses.kafka, addresses.database, root)
        finally:
            server.terminate()
            server.wait()


@contextmanager
def another_api(service: Service, database: str) -> Iterator[tuple[str, int]]:
    """One more api process beside a service, on this database; where it answers."""
    port = ports.free_port()
    environment = os.environ | {
        "TUNESMITH_KAFKA": service.kafka,
        "TUNESMITH_DATABASE": database,
        "TUNESMITH_DATA_DIR": str(service.folder),
        "TUNESMITH_PORT": str(port),
        "TUNESMITH_CREATES_PER_MINUTE": "0",
        "TUNESMITH_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([*SERVER, "run", "api"], env=environment)
    try:
        until_listening(port)
        yield ports.LOOPBACK, port
    finally:
        process.terminate()
        process.wait()


def until_listening(port: int) -> None:
    """Wait until something on loopback takes connections. Raises `RuntimeError`."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        try:
            socket.create_connection((ports.LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nothing listens on port {port} after {STARTS_WITHIN:g} s")
