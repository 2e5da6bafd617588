"""What the README says to type."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tunesmith import TuningClient

from tests.acceptance.running import BIN, Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


def test_the_python_example_creates_a_tuning(service: Service) -> None:
    readme = (ROOT / "README.md").read_text()
    [example] = re.findall(r"test_readme\.py -->\n```python\n(.*?)```", readme, re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, env=service.environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    id, status = ran.stdout.split()
    assert status == "pending"
    with TuningClient(service.key, base_url=service.url) as client:
        assert client.tunings.cancel(id).status == "cancelled"


@pytest.mark.parametrize(
    "command",
    [
        "tunesmith files upload examples/order_mails/train.jsonl",
        "tunesmith tunings create --help",
        "tunesmith tunings list",
        "tunesmith models list",
        "tunesmith health",
        "tunesmith-server settings",
    ],
)
def test_the_commands_work_as_written(service: Service, command: str) -> None:
    name, *arguments = command.split()
    ran = subprocess.run(
        [BIN / name, *arguments], cwd=ROOT, env=service.environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
