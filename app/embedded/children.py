"""Child processes that never outlive us: the kernel signals them when we die, however we die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
from msgspec import Struct

from app.embedded import die_with_parent

LEFTOVERS_END_WITHIN = 15.0


class Account(Struct, frozen=True):
    """A user of this machine that a child runs as."""

    user: int
    group: int


async def start(
    command: Sequence[str],
    *,
    log: Path,
    on_parents_death: signal.Signals,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    cwd: Path | None = None,
) -> asyncio.subprocess.Process:
    """Start a child in a process group of its own (Ctrl-C reaches us, not it); its output goes to `log`.

    Call it from the main thread: the kernel takes the end of the calling thread for our death.
    """
    runs_as = f"{account.user}:{account.group}" if account else "-"
    before = (sys.executable, "-I", "-S", die_with_parent.__file__)
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            *before,
            str(int(on_parents_death)),
            str(os.getpid()),
            runs_as,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            cwd=cwd,
            process_group=0,
        )


async def stop(child: asyncio.subprocess.Process, sent: signal.Signals, within: float) -> None:
    """Ask a child to end; kill it when it has not after `within` seconds, and what is left of its group."""
    try:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.send_signal(sent)
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await child.wait()
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    await child.wait()


@asynccontextmanager
async def watched(
    child: asyncio.subprocess.Process, on_death: Callable[[int], None] | None
) -> AsyncIterator[None]:
    """Call `on_death` with the exit status should the child end while the context is open."""

    async def watch() -> None:
        status = await child.wait()
        if on_death is not None:
            on_death(status)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def end_leftovers(is_left: Callable[[psutil.Process], bool]) -> None:
    """Wait until no process of a killed run is left; kill those that stay longer than they should."""
    deadline = asyncio.get_running_loop().time() + LEFTOVERS_END_WITHIN
    while left := [process for process in psutil.process_iter(["name"]) if _holds(is_left, process)]:
        if asyncio.get_running_loop().time() > deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
        await asyncio.sleep(0.05)


def _holds(is_left: Callable[[psutil.Process], bool], process: psutil.Process) -> bool:
    try:
        return is_left(process)
    except psutil.Error:  # gone meanwhile, or another user's
        return False


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log, on one line."""
    try:
        return " | ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""
