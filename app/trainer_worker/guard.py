"""Stands over one child: what it started ends with it, and all of it ends with the worker, however that went.

    python -I -S guard.py WORKER_PID COMMAND_AS_JSON

Whatever loses its parent below us becomes ours, also what began a session of its own, as ranks of torchrun
do. SIGTERM to the group is for the child alone; SIGHUP kills everything here at once, and the kernel sends it
when the worker is gone. The guard ends as its child did. A program of its own, on the standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
DESCRIPTORS = 4096


def main(worker: int, command: list[str]) -> NoReturn:
    """Run the command; when it has ended, end what it left, and then as it did."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGHUP, lambda *_: kill_all())
    prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != worker:
        sys.exit("the worker was gone before the start")
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # should anybody kill the guard
        os.execv(command[0], command)  # noqa: S606 – there is no shell wanted
    for ignored in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    os.closerange(3, DESCRIPTORS)  # or nobody would hear that the child's frames have ended
    status = 0
    while True:
        try:
            ended, how = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if ended == child:
            status = how
        if ended == child or not exists(child):
            kill_all()
    end_as(os.waitstatus_to_exitcode(status))


def kill_all() -> None:
    """Kill everything below us; what it starts meanwhile is found the next time, as its parents are gone."""
    for one in below(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def below(pid: int) -> Iterator[int]:
    """Processes started by this one, and by those, and so on."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):  # it may end while it is looked at
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(path.name))
    waiting = children.get(pid, [])
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        yield one


def exists(pid: int) -> bool:
    """Whether there is such a process, ended or not."""
    return Path(f"/proc/{pid}").exists()


def end_as(code: int) -> NoReturn:
    """Exit with this code, or by this signal if it is negative."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
