"""Child processes that never outlive us: the kernel signals them when we die, however we die."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(sent: signal.Signals) -> Callable[[], None]:
    """For a child between fork and exec: have the kernel send `sent` once its parent is gone."""
    parent = os.getpid()

    def arrange() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(sent))
        if os.getppid() != parent:  # it died before we could ask
            os.kill(os.getpid(), signal.SIGKILL)

    return arrange


async def start(
    command: Sequence[str],
    *,
    log: Path,
    on_parents_death: signal.Signals,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
) -> asyncio.subprocess.Process:
    """Start a child in a process group of its own (Ctrl-C reaches us, not it); its output goes to `log`."""
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            user=user,
            cwd=cwd,
            process_group=0,
            preexec_fn=die_with_parent(on_parents_death),
        )


async def stop(child: asyncio.subprocess.Process, sent: signal.Signals, within: float) -> None:
    """Ask a child to end, and kill its group when it has not after `within` seconds."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.send_signal(sent)
        try:
            async with asyncio.timeout(within):
                await child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


async def end_leftovers(folder: Path, within: float = 15.0) -> None:
    """Wait until no process of a killed run works on `folder` any more; kill what stays too long."""
    deadline = asyncio.get_running_loop().time() + within
    while left := _working_on(folder):
        if asyncio.get_running_loop().time() > deadline:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
        await asyncio.sleep(0.1)


def _working_on(folder: Path) -> list[psutil.Process]:
    found = []
    mine = {os.getpid(), os.getppid()}
    for process in psutil.process_iter(["name", "cmdline"]):
        command = process.info["cmdline"] or []
        server = process.info["name"] in ("java", "postgres")
        if server and process.pid not in mine and any(str(folder) in word for word in command):
            found.append(process)
    return found


def free_port(wanted: int = 0, host: str = "127.0.0.1") -> int | None:
    """`wanted` if nobody listens there, or any free port for 0; None when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log, on one line."""
    try:
        return " | ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""
