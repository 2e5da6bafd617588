"""Each role as a process of its own, against real servers: it starts, and drains when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.embedded.ports import free_port
from app.roles import ROLES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

DRAINED_WITHIN = 30.0


def started(role: str, kafka: str, database: str, folder: Path) -> tuple[subprocess.Popen[str], Path]:
    log = folder / "role.log"
    environment = os.environ | {
        "TUNESMITH_KAFKA": kafka,
        "TUNESMITH_DATABASE": database,
        "TUNESMITH_DATA_DIR": str(folder / "data"),
        "TUNESMITH_PORT": str(free_port()),
    }
    with log.open("w") as out:
        command = [sys.executable, "-m", "app.cli", "run", role]
        return subprocess.Popen(command, stderr=out, stdout=out, text=True, env=environment), log


def said(log: Path) -> list[str]:
    """The names of the events in a log."""
    lines = log.read_text().splitlines(keepends=True)
    return [json.loads(line)["event"] for line in lines if line.startswith("{") and line.endswith("\n")]


@pytest.mark.parametrize(
    ("role", "sent"), [*((role, signal.SIGTERM) for role in ROLES), ("api", signal.SIGINT)]
)
def test_a_role_drains_when_it_is_told_to(
    topics: str, database: str, tmp_path: Path, role: str, sent: signal.Signals
) -> None:
    process, log = started(role, topics, database, tmp_path)
    with process:
        deadline = time.monotonic() + 40
        while "roles_started" not in said(log) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)  # in the middle of whatever it does first
        assert process.poll() is None, log.read_text()
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(sent)
        assert process.wait(timeout=DRAINED_WITHIN) == 0, log.read_text()
        assert said(log)[-1] == "drained"
    _, alive = psutil.wait_procs(family, timeout=1)
    assert alive == []
