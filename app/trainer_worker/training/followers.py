"""The further processes of a child: started with it, warm like it, and never outliving it.

They are started anew, as a process with torch's threads or a GPU in it cannot be forked; but they import what
they need while the child does, so that an attempt does not wait for them. One that ends or fails, ends the
child: at once, and with the reason. Of torchrun's agent only that would be used: it would stand between the
worker and the first process, and start anew what the worker is to hear of.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Semaphore, Thread
from typing import TYPE_CHECKING
from uuid import uuid4

from msgspec.structs import replace

from app.trainer_worker.training.frames import Failed, Frame, Ready, Reduced, read_frame
from app.trainer_worker.training.plan import Follow, Plan, PlanError, request_line

if TYPE_CHECKING:
    from app.trainer_worker.training.together import Together

PROGRAM: tuple[str, ...] = (sys.executable, "-m", "app.trainer_worker.training")
TOLD_WITHIN = 5.0  # why another process is gone, after that was noticed

Tell = Callable[[Frame], None]


class Followers:
    """So many processes beside this one, which tells of them all; their log is its own."""

    def __init__(self, count: int, tell: Tell, device: str | None = None) -> None:
        self._told, self._lock, self._ready = tell, Lock(), Semaphore(0)
        self._all: list[subprocess.Popen[bytes]] = []
        for rank in range(1, count + 1):
            reading, writing = os.pipe()
            options = ("--device", device) if device is not None else ()
            one = subprocess.Popen(  # from the main thread: when that is gone, the kernel kills it
                [*PROGRAM, "--frames-fd", str(writing), *options],
                stdin=subprocess.PIPE,
                stdout=sys.stderr,
                pass_fds=(writing,),
            )
            os.close(writing)
            self._all.append(one)
            Thread(target=self._hear, args=(rank, one, reading), name=f"rank {rank}", daemon=True).start()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._all)

    def tell(self, frame: Frame) -> None:
        """Tell a frame, unless there is nothing more to be told."""
        with self._lock:
            self._told(frame)

    def until_ready(self) -> None:
        """Wait until all have imported everything."""
        for _ in self._all:
            self._ready.acquire()

    @contextmanager
    def joined(self, plan: Plan) -> Iterator[Together]:
        """Carry out a plan together with as many as it is for."""
        from app.trainer_worker.training.together import ALONE, together

        if plan.processes == 1:
            yield ALONE
            return
        if plan.processes > len(self._all) + 1:
            raise PlanError(f"the plan is for {plan.processes} processes, and there are {len(self._all) + 1}")
        folder = Path(plan.output_dir) / "ranks"
        folder.mkdir(parents=True, exist_ok=True)
        meeting = folder / uuid4().hex
        for rank, one in enumerate(self._all[: plan.processes - 1], start=1):
            device = "cpu" if plan.device == "cpu" else f"cuda:{rank}"
            own = replace(plan, output_dir=str(folder / str(rank)), device=device)
            assert one.stdin is not None
            with suppress(BrokenPipeError):  # whoever hears its end, ends this process
                one.stdin.write(request_line(Follow(own, rank, str(meeting))))
                one.stdin.flush()
        with together(plan, 0, meeting) as joined:
            yield joined

    def explain(self, error: Exception) -> None:
        """End this process if an error only says that another one is gone or silent."""
        from app.trainer_worker.training.together import is_loss_of_others

        if self._all and is_loss_of_others(error):
            traceback.print_exception(error)
            time.sleep(TOLD_WITHIN)
            states = ", ".join(f"rank {rank} is {_state(one)}" for rank, one in enumerate(self._all, start=1))
            self.end(f"the processes of the attempt have lost each other: {states}")

    def end(self, why: str, last: Frame | None = None) -> None:
        """Kill all, and end this process; nothing but the reason is told any more."""
        self._lock.acquire()
        print(why, file=sys.stderr, flush=True)
        if last is not None:
            self._told(last)
        for one in self._all:
            one.kill()
        os._exit(1)

    def _hear(self, rank: int, one: subprocess.Popen[bytes], frames: int) -> None:
        with os.fdopen(frames, "rb") as lines:
            for line in lines:
                match read_frame(line):
                    case Ready():
                        self._ready.release()
                    case Failed() | Reduced() as last:
                        self.end(f"rank {rank}, process {one.pid}, failed, and the attempt with it", last)
        status = one.wait()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self.end(f"rank {rank}, process {one.pid}, ended with {how}, and the attempt with it")


def _state(one: subprocess.Popen[bytes]) -> str:
    """What the kernel says that a process does."""
    try:
        lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
    except OSError:
        return "gone"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("State:")), "unknown")
