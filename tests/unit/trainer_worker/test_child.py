"""Children that misbehave: real processes that will not go, die, or talk nonsense."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.trainer_worker.child import Child, ChildDied
from app.trainer_worker.surroundings import surroundings
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


async def said(child: Child, word: str) -> str:
    """What the child printed, once this is in it."""
    async with asyncio.timeout(60):
        while word not in (text := child.output.read_text()):
            await asyncio.sleep(0.02)
    return text


async def ended(process: psutil.Process) -> None:
    async with asyncio.timeout(60):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def test_a_child_tells_that_it_is_ready_and_sees_its_own_surroundings(tmp_path: Path) -> None:
    script = PRELUDE + "print(dict(os.environ), 'seen', flush=True); time.sleep(60)"
    environment = surroundings({"PATH": "/bin", "MY_TOKEN": "x"}, "GPU-1")
    child = await Child.start(tmp_path / "child.log", environment, (sys.executable, "-c", script))
    assert await child.until_ready() == Ready("cpu", "n", 1, {})
    seen = await said(child, "seen")
    await child.stop()
    assert "'CUDA_VISIBLE_DEVICES': 'GPU-1'" in seen
    assert "MY_TOKEN" not in seen


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


AN_ESCAPE = """
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(other.pid, "escaped", flush=True)
"""


@pytest.mark.parametrize("how", ["stopped", "stopped while it hangs", "killed", "killed with its guard"])
async def test_what_a_child_started_ends_with_it_even_in_a_session_of_its_own(
    tmp_path: Path, how: str
) -> None:
    child = await started(tmp_path, AN_ESCAPE + "print(os.getpid(), 'here', flush=True); time.sleep(600)")
    words = (await said(child, "here")).split()
    grandchild, itself = psutil.Process(int(words[0])), psutil.Process(int(words[2]))
    match how:
        case "stopped":
            await child.stop()
        case "stopped while it hangs":
            itself.suspend()  # and so it is deaf as well
            await child.stop()
        case "killed":
            itself.kill()
            assert await child.wait() == -signal.SIGKILL
        case "killed with its guard":
            psutil.Process(child.pid).kill()
            await ended(itself)
            grandchild.kill()  # nobody is left to do it
    await ended(grandchild)
    await ended(itself)
    assert not psutil.pid_exists(child.pid) or how == "killed with its guard"
    await child.stop()


A_WORKER = """
import asyncio, sys
from pathlib import Path
from app.trainer_worker.child import Child

async def main():
    await Child.start(Path(sys.argv[1]), program=(sys.executable, "-c", sys.argv[2]))
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_of_a_worker_that_is_killed_no_process_is_left(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    script = PRELUDE + AN_ESCAPE + "print(os.getpid(), os.getppid(), 'here', flush=True); time.sleep(600)"
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", A_WORKER, str(log), script)
    async with asyncio.timeout(60):
        while not log.exists() or "here" not in log.read_text():
            await asyncio.sleep(0.02)
    left = [psutil.Process(int(word)) for word in log.read_text().split() if word.isdigit()]
    assert len(left) == 3
    worker.kill()
    await worker.wait()
    for process in left:
        await ended(process)


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
