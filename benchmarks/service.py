"""A running `tunesmith-server up` in a folder of its own, for measuring."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from app.embedded.addresses import read_addresses

SERVER = Path(sys.executable).with_name("tunesmith-server")


class Service(Struct, frozen=True):
    """Where it answers, an admin key, and the broker's address."""

    url: str
    key: str
    kafka: str


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
            [SERVER, "up", "--data-dir", folder, "--port", "0"],
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
            yield Service(line.split()[1], key, addresses.kafka)
        finally:
            server.terminate()
            server.wait()
