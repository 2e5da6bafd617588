"""Children that misbehave: real processes that will not go, die, or talk nonsense."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.trainer_worker.child import Child, ChildDied
from app.trainer_worker.training.frames import FrameError, Phase, Ready
from app.trainer_worker.training.plan import Verify

READY = '{"type":"ready","device":"cpu","name":"n","memory":1,"versions":{}}'
PRELUDE = f"""
import os, signal, subprocess, sys, time
out = os.fdopen(int(sys.argv[sys.argv.index("--frames-fd") + 1]), "w", buffering=1)
print({READY!r}, file=out)
"""


async def started(folder: Path, script: str) -> Child:
    return await Child.start(folder / "child.log", program=(sys.executable, "-c", PRELUDE + script))


@pytest.mark.parametrize("device", [None, "cuda:1"])
async def test_a_child_tells_that_it_is_ready_and_sees_only_its_own_device(
    tmp_path: Path, device: str | None
) -> None:
    child = await Child.start(
        tmp_path / "child.log",
        device,
        (sys.executable, "-c", PRELUDE + "print(os.environ.get('CUDA_VISIBLE_DEVICES')); time.sleep(60)"),
    )
    assert await child.until_ready() == Ready("cpu", "n", 1, {})
    await child.stop()
    said = (tmp_path / "child.log").read_text().strip()
    assert said in ("", "1" if device else "None")


async def test_a_child_that_dies_is_reported_with_its_signal(tmp_path: Path) -> None:
    child = await started(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    await child.until_ready()
    with pytest.raises(ChildDied, match="SIGKILL") as died:
        await child.next_frame()
    assert died.value.status == -9
    await child.wait()
    with pytest.raises(ChildDied):
        await child.send(Verify("/nowhere"))


async def test_a_frame_cut_off_by_death_is_no_frame(tmp_path: Path) -> None:
    child = await started(tmp_path, """out.write('{"type":"pha'); out.flush(); os._exit(3)""")
    await child.until_ready()
    with pytest.raises(ChildDied, match="exit status 3"):
        await child.next_frame()


async def test_nonsense_is_not_taken_for_a_frame(tmp_path: Path) -> None:
    child = await started(tmp_path, """print("hello", file=out); time.sleep(60)""")
    await child.until_ready()
    with pytest.raises(FrameError, match="hello"):
        await child.next_frame()
    await child.stop()


async def test_what_a_child_prints_goes_to_its_log_and_not_among_the_frames(tmp_path: Path) -> None:
    script = (
        """print("a library's chatter", flush=True); print('{"type":"phase","phase":"saving"}', file=out)"""
    )
    child = await started(tmp_path, script)
    await child.until_ready()
    assert await child.next_frame() == Phase("saving")
    await child.wait()
    assert "chatter" in (tmp_path / "child.log").read_text()


async def test_a_child_that_ignores_sigterm_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    script = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
other = subprocess.Popen([sys.executable, "-c", deaf + "time.sleep(600)"])
print(other.pid, flush=True)
time.sleep(600)
"""
    child = await started(tmp_path, script)
    await child.until_ready()
    async with asyncio.timeout(20):
        while "deaf" not in (said := (tmp_path / "child.log").read_text()):
            await asyncio.sleep(0.02)
    grandchild = psutil.Process(int(next(line for line in said.split() if line.isdigit())))
    async with asyncio.timeout(5):
        await child.stop()
        while grandchild.is_running() and grandchild.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)
    assert not psutil.pid_exists(child.pid)


async def test_who_is_cancelled_while_it_stops_a_child_leaves_none_behind(tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    child = await started(tmp_path, deaf)
    await child.until_ready()
    async with asyncio.timeout(20):
        while "deaf" not in (tmp_path / "child.log").read_text():
            await asyncio.sleep(0.02)
    stopping = asyncio.create_task(child.stop())
    for _ in range(2):
        await asyncio.sleep(0.1)
        stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not psutil.pid_exists(child.pid)


async def test_who_is_cancelled_while_it_starts_a_child_leaves_none_behind(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    for turns in range(200):
        starting = asyncio.create_task(started(tmp_path, "time.sleep(600)"))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with suppress(asyncio.CancelledError):
            child = await starting
            await child.stop()
            break
    else:
        raise AssertionError("it never got as far as a child")
    assert turns > 1
    assert set(psutil.Process().children()) == before
