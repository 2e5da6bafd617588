"""Child processes end with their parent, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.embedded import children, die_with_parent

SLEEP = ["/bin/sleep", "600"]
STUBBORN_SCRIPT = """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen(["/bin/sleep", "600"]).pid, flush=True)
time.sleep(600)
"""
STUBBORN = [sys.executable, "-c", STUBBORN_SCRIPT]
PARENT = """
import asyncio, signal, sys
from pathlib import Path
from app.embedded import children, die_with_parent

async def main():
    log = Path(sys.argv[1])
    child = await children.start(["/bin/sleep", "600"], log=log, on_parents_death=signal.SIGTERM)
    print(child.pid, flush=True)
    await child.wait()

asyncio.run(main())
"""


async def until_gone(pid: int, within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def started(command: list[str], log: Path) -> asyncio.subprocess.Process:
    return await children.start(command, log=log, on_parents_death=signal.SIGKILL)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        async with asyncio.timeout(10):
            while (
                psutil.Process(child).name() != "sleep"
            ):  # until it is past the check for a parent gone early
                await asyncio.sleep(0.01)
        parent.send_signal(sent)
        parent.wait()
        await until_gone(child)


async def test_a_child_has_a_process_group_of_its_own(tmp_path: Path) -> None:
    child = await started(SLEEP, tmp_path / "log")
    try:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    finally:
        await children.stop(child, signal.SIGTERM, 5.0)
    assert child.returncode == -signal.SIGTERM


async def test_one_that_does_not_end_when_asked_is_killed_with_its_whole_group(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = await started(STUBBORN, log)
    async with asyncio.timeout(10):
        while not log.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    grandchild = int(log.read_text())
    await children.stop(child, signal.SIGTERM, 0.2)
    assert child.returncode == -signal.SIGKILL
    await until_gone(grandchild)


async def test_stopping_kills_also_when_it_is_cancelled_while_it_waits(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = await started(STUBBORN, log)
    async with asyncio.timeout(10):
        while not log.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    stopping = asyncio.create_task(children.stop(child, signal.SIGTERM, 60.0))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await until_gone(child.pid)
    assert await child.wait() == -signal.SIGKILL


async def test_a_program_that_is_not_there_is_told_in_the_log(tmp_path: Path) -> None:
    child = await started(["/no/such/program"], tmp_path / "log")
    assert await child.wait() == 127
    assert children.tail(tmp_path / "log") == "/no/such/program cannot be run: No such file or directory"


async def test_nothing_is_started_for_a_parent_that_is_gone_already(tmp_path: Path) -> None:
    script = str(die_with_parent.__file__)
    not_the_parent = "1"
    done = subprocess.run(
        [sys.executable, "-I", "-S", script, "15", not_the_parent, "-", "/bin/touch", str(tmp_path / "made")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "the parent was gone" in done.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_child_can_run_as_another_account_and_still_ends_with_us(tmp_path: Path) -> None:
    log = tmp_path / "log"
    show = "import os, ctypes; s = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(s)); "
    show += "print(os.getuid(), os.getgid(), os.getgroups(), s.value)"
    nobody = children.Account(65534, 65534)
    child = await children.start(
        ["/usr/bin/env", "python3", "-c", show], log=log, on_parents_death=signal.SIGINT, account=nobody
    )
    assert await child.wait() == 0
    assert log.read_text() == f"65534 65534 [] {int(signal.SIGINT)}\n"


async def test_a_watcher_is_told_of_a_child_that_ends_by_itself_and_of_no_other(tmp_path: Path) -> None:
    told: list[int] = []
    child = await started(["/bin/sh", "-c", "exit 3"], tmp_path / "log")
    async with children.watched(child, told.append), asyncio.timeout(10):
        while not told:
            await asyncio.sleep(0.01)
    assert told == [3]
    child = await started(SLEEP, tmp_path / "log")
    async with children.watched(child, told.append):
        pass
    await children.stop(child, signal.SIGTERM, 5.0)
    assert told == [3]


async def test_leftovers_are_waited_for_and_then_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LEFTOVERS_END_WITHIN", 0.1)
    left = await started(SLEEP, tmp_path / "log")
    reaping = asyncio.create_task(left.wait())
    await children.end_leftovers(lambda process: process.pid == left.pid)
    assert await reaping == -signal.SIGKILL
