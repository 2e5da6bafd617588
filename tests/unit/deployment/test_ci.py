"""`.ci/run` ends with the test runner's closing line and fails when anything failed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PASSED = "======================== 12 passed in 3.45s ========================"
FAILED = "=================== 1 failed, 11 passed in 3.45s ==================="
MAKE = """#!/bin/sh
case "$*" in
    *check*) echo "linting"; exit {check} ;;
    *test*)
        echo "=== test session starts ==="
        echo "{closing}"
        echo "make: *** [test] Error" >&2
        exit {test} ;;
esac
"""


@pytest.mark.parametrize(
    ("check", "test", "closing", "good"),
    [
        (0, 0, PASSED, True),
        (2, 0, PASSED, False),
        (0, 2, FAILED, False),
        (0, 2, "", False),
    ],
)
def test_the_outcome_and_the_last_line_are_those_of_the_checks_and_tests(
    tmp_path: Path, check: int, test: int, closing: str, good: bool
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(MAKE.format(check=check, test=test, closing=closing))
    make.chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / ".ci" / "run")],
        env={"PATH": f"{make.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode == 0) is good
    assert done.stdout.splitlines()[-1] == (closing or "the tests did not run to their end")
