"""Training children in a tenth of the time: one process imports everything, each child is a fork of it.

`python -m tests.integration.training.forks SOCKET` is that process. What `Child.start` starts hands its own
stdin, stdout, stderr and frames over, and ends as the fork ends; the fork is what is killed.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.trainer_worker.child import Child, ChildDied
from app.trainer_worker.training.environment import die_with_parent, prepare

WITHIN = 120.0
PLACES = 4  # stdin, stdout, stderr, frames
STAND_IN = """
import array, json, os, signal, socket, sys
frames = int(sys.argv[sys.argv.index("--frames-fd") + 1])
there = socket.socket(socket.AF_UNIX)
there.connect(sys.argv[1])
given = json.dumps(sys.argv[2:]).encode()
there.sendmsg([given], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2, frames]))])
os.close(frames)
status = int(there.makefile().readline() or -9)
if status < 0:
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


class Forks:
    """The process that children are forks of."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def child(self, output: Path, processes: int = 1) -> Child:
        """A child that is ready, of so many processes."""
        child = await Child.start(output, program=stand_in(str(self._path)), processes=processes)
        async with asyncio.timeout(WITHIN):
            await child.until_ready()
        return child


def stand_in(path: str) -> tuple[str, ...]:
    """The program that has itself replaced by a fork."""
    return (sys.executable, "-S", "-c", STAND_IN, path)


@contextmanager
def forking(folder: Path) -> Iterator[Forks]:
    """Import everything once, for as many children as are wanted."""
    path = folder / "forks.sock"
    with (folder / "forks.log").open("wb") as log:
        program = [sys.executable, "-m", "tests.integration.training.forks", str(path)]
        serving = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline() == b"listening\n"
        yield Forks(path)
    finally:
        serving.kill()
        serving.communicate()


def serve(path: str) -> None:
    """Fork for whoever asks, and tell how the fork ended."""
    prepare()
    from app.trainer_worker.training import model, run, verify  # noqa: F401 – what takes long

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    print("listening", flush=True)
    asked: dict[int, socket.socket] = {}
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listening.settimeout(0.05)
    while True:
        try:
            there, _ = listening.accept()
        except TimeoutError:
            pass
        else:
            places = array.array("i")
            given, (received, *_), *_ = there.recvmsg(1024, socket.CMSG_LEN(PLACES * places.itemsize))
            places.frombytes(received[2])
            if (pid := os.fork()) == 0:
                listening.close()
                _be_the_child(path, json.loads(given), places.tolist())
            for one in places:
                os.close(one)
            asked[pid] = there
        while asked:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            with asked.pop(pid) as there, suppress(BrokenPipeError):  # a stand-in that was stopped
                there.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _be_the_child(path: str, given: list[str], places: list[int]) -> None:
    """What a child of a worker does from here on; its followers are forks as well."""
    from app.trainer_worker.training import __main__ as main
    from app.trainer_worker.training import followers

    die_with_parent()
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, place in enumerate(places[:3]):
        os.dup2(place, number)
        os.close(place)
    given[given.index("--frames-fd") + 1] = str(places[3])
    sys.argv = ["child", *given]
    followers.PROGRAM = stand_in(path)
    print(f"fork {os.getpid()}", file=sys.stderr, flush=True)
    try:
        os._exit(main.main())
    finally:
        os._exit(1)


async def ended(child: Child) -> None:
    """Stop a child, and wait until its fork is gone as well: it goes when its stdin ends."""
    await child.stop()
    async with asyncio.timeout(WITHIN):
        with suppress(ChildDied):
            while True:
                await child.next_frame()


def pid_of(child: Child) -> int:
    """The process that trains, as it is told first in its log."""
    return int(child.output.read_text().split(maxsplit=2)[1])


if __name__ == "__main__":
    serve(sys.argv[1])
