"""`tunesmith-server up` as a process, and what may not be left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from msgspec import Struct

BIN = Path(sys.executable).parent
READY_WITHIN = 180.0
STOPS_WITHIN = 45.0


class Service(Struct, frozen=True):
    """A running `up`."""

    process: subprocess.Popen[str]
    url: str
    key: str
    data_dir: Path
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a user of it has in the environment."""
        return os.environ | {"TUNESMITH_BASE_URL": self.url, "TUNESMITH_API_KEY": self.key}

    def operator(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an operator command against it."""
        return server(*arguments, "--data-dir", str(self.data_dir))


def server(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `tunesmith-server` to its end."""
    command = [str(BIN / "tunesmith-server"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=os.environ | (env or {}))


def start(data_dir: Path) -> Service:
    """Start `up` and wait until it is ready."""
    log = data_dir.with_name(f"{data_dir.name}.log")
    with log.open("a") as out:
        process = subprocess.Popen(
            [str(BIN / "tunesmith-server"), "up", "--data-dir", str(data_dir), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
            start_new_session=True,
            env=os.environ | {"TUNESMITH_WEBHOOK_ALLOW": "127.0.0.0/8"},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("READY http://"), log.read_text()[-2000:]
    key = (data_dir / "admin.key").read_text().strip()
    return Service(process, line.split()[1], key, data_dir, log)


@contextmanager
def running(data_dir: Path) -> Iterator[Service]:
    """A service, asked to end as an operator would; nothing of it may be left."""
    service = start(data_dir)
    family = descendants(service)
    with service.process:
        try:
            yield service
            family |= descendants(service)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(timeout=STOPS_WITHIN) == 0, service.log.read_text()[-2000:]
            assert gone(family, within=1.0)
        finally:
            service.process.kill()


def descendants(service: Service) -> set[psutil.Process]:
    """Every process that it started, at any remove."""
    return set(psutil.Process(service.process.pid).children(recursive=True))


def gone(family: set[psutil.Process], within: float) -> bool:
    """Whether all of them are gone in time."""
    _, alive = psutil.wait_procs(list(family), timeout=within)
    return not [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def wait_until(condition: object, within: float = 60.0) -> None:
    """Poll a callable until it is true."""
    assert callable(condition)
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
