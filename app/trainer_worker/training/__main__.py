"""The child: imports everything, says that it is ready, and waits for its plan.

`--frames-fd N` names the file descriptor that frames go to. `--plan FILE` trains and verifies one plan alone,
frames on stdout. End of file on stdin, or SIGTERM, ends the child at once, whatever it does. With
`--processes N` it can carry out plans in so many: N - 1 more run this program, and it asks them to follow.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

import msgspec

from app.trainer_worker.training.environment import die_with_parent, prepare
from app.trainer_worker.training.followers import Followers
from app.trainer_worker.training.frames import Failed, Frame, Rested, frame_line, shown
from app.trainer_worker.training.plan import (
    Follow,
    Merge,
    PlanError,
    Rest,
    Train,
    Verify,
    read_plan,
    read_request,
)

if TYPE_CHECKING:
    from app.trainer_worker.training.verify import Answers

Tell = Callable[[Frame], None]


def main() -> int:
    """Serve requests from stdin until it ends; or one plan from a file."""
    parser = argparse.ArgumentParser(prog="python -m app.trainer_worker.training", description=__doc__)
    parser.add_argument("--frames-fd", type=int, default=1)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default=None)
    given = parser.parse_args()
    tell = frames_to(given.frames_fd)
    prepare()
    if given.plan is not None:
        return alone(given.plan, tell)
    die_with_parent()
    rest = Event()
    serve(listen(rest), Followers(given.processes - 1, tell, given.device), given.device, rest)
    return 0


def serve(requests: SimpleQueue[bytes], followers: Followers, device: str | None, rest: Event) -> None:
    """Import everything, say so, and do what is asked, for ever."""
    tell = followers.tell
    gc.disable()  # thousands of modules are no garbage, and looking through them takes a tenth of the time
    from app.trainer_worker.training import (
        ladder,
        memory,
        merging,
        model,
        points,
        verify,
    )  # and with them torch

    gc.freeze()
    gc.enable()
    followers.until_ready()
    tell(model.ready(device, followers.count + 1))
    trained: Answers | None = None
    while True:
        line = requests.get()
        failed: Frame | None = None
        try:
            match read_request(line):
                case Train(plan=plan):
                    trained = None
                    with followers.joined(plan) as together:
                        trained = ladder.carry_out(plan, tell, rest.is_set, together)
                case Follow(plan=plan) as asked:
                    follow(asked)
                case Verify(adapter_dir=folder):
                    if trained is None:
                        raise PlanError("there is nothing to compare an adapter with: no training has ended")
                    tell(verify.verify(trained, Path(folder), tell))
                case Merge(adapter_dir=folder):
                    if trained is None:
                        raise PlanError("there is nothing to merge: no training has ended")
                    tell(merging.merge(trained, Path(folder), tell))
        except points.AskedToRest as left:
            tell(Rested(left.step))
        except Exception as error:  # noqa: BLE001 – told as a frame, whatever it is
            followers.explain(error)
            failed = ladder.to_need_less(error, plan) or failure(error)
            if plan is not None and plan.processes > 1:  # the others may wait for this one, for long
                followers.end("the processes of the attempt end with it", failed)
        if failed is not None:
            memory.give_back()  # now that nothing holds the exception, nor it what broke
            tell(failed)


def follow(asked: Follow) -> None:
    """Take part in an attempt that another process tells of. Raises whatever went wrong."""
    from app.trainer_worker.training import points, run
    from app.trainer_worker.training.together import is_loss_of_others, together

    try:
        with together(asked.plan, asked.rank, Path(asked.meeting)) as joined, suppress(points.AskedToRest):
            run.train(asked.plan, lambda _: None, together=joined)
    except Exception as error:
        if is_loss_of_others(error):
            traceback.print_exception(error)
            os._exit(1)
        raise


def alone(path: Path, tell: Tell) -> int:
    """Carry out one plan and verify what it made; 1 when that failed."""
    from app.trainer_worker.training import ladder, model, verify

    try:
        plan = read_plan(path.read_bytes())
        followers = Followers(plan.processes - 1, tell, plan.device.partition(":")[0])
        tell(model.ready("cpu" if plan.device == "cpu" else None, plan.processes))
        with followers.joined(plan) as together:
            trained = ladder.carry_out(plan, followers.tell, together=together)
        assert trained is not None
        tell(verify.verify(trained, Path(plan.output_dir) / "adapter", tell))
    except Exception as error:  # noqa: BLE001 – told as a frame, whatever it is
        tell(failure(error))
        return 1
    return 0


def failure(error: Exception) -> Failed:
    """What was raised, as a frame; its traceback goes to stderr, the attempt's log."""
    from app.trainer_worker.training.failures import failure_of
    from app.trainer_worker.training.memory import memory_peak

    traceback.print_exception(error)
    sys.stderr.flush()
    return msgspec.structs.replace(failure_of(error), memory_peak=memory_peak())


def frames_to(descriptor: int) -> Tell:
    """A function that writes frames there, and shows them in the attempt's log, stderr.

    What libraries print goes to stderr as well if frames go to stdout.
    """
    if descriptor == 1:
        descriptor = os.dup(1)
        os.dup2(2, 1)
    out = os.fdopen(descriptor, "wb", buffering=0)

    def tell(frame: Frame) -> None:
        out.write(frame_line(frame))
        print(shown(frame, datetime.now(UTC)), file=sys.stderr, flush=True)

    return tell


def listen(rest: Event) -> SimpleQueue[bytes]:
    """Lines of stdin as they come, read by a thread of its own; their end ends the process at once.

    A request to rest is for what is under way: it sets `rest`, and the next plan takes that back.
    """
    lines: SimpleQueue[bytes] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            if _asks_to_rest(line):
                rest.set()
            else:
                rest.clear()
                lines.put(line)
        os._exit(0)

    Thread(target=read, name="requests", daemon=True).start()
    return lines


def _asks_to_rest(line: bytes) -> bool:
    try:
        return isinstance(read_request(line), Rest)
    except PlanError:
        return False  # whoever carries it out will say so


if __name__ == "__main__":
    sys.exit(main())
