"""The child: imports everything, says that it is ready, and waits for its plan.

`--frames-fd N` names the file descriptor that frames go to; `--plan FILE` runs one plan alone, frames on stdout.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from app.trainer_worker.training.frames import Frame
from app.trainer_worker.training.plan import Plan, Request, Train, Verify

PR_SET_PDEATHSIG = 1
Result = TypeVar("Result")


def main() -> None:
    """Serve requests from stdin until it ends."""
    arguments = argparse.ArgumentParser(prog="python -m app.trainer_worker.training", description=__doc__)
    arguments.add_argument("--frames-fd", type=int, default=1)
    arguments.add_argument("--plan", type=Path)
    arguments.add_argument("--device", default=None)
    given = arguments.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # never outlive the supervisor
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(given.frames_fd, "wb", buffering=0)

    def tell(frame: Frame) -> None:
        out.write(msgspec.json.encode(frame) + b"\n")

    quieten()
    from app.trainer_worker.training.run import Trained, ready, train, verify  # torch and all that hangs on it

    if given.plan is not None:
        trained = guarded(tell, lambda: train(msgspec.json.decode(given.plan.read_bytes(), type=Plan), tell))
        sys.exit(0 if trained else 1)
    tell(ready(given.device))
    last: Trained | None = None
    requests: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Request)
    for line in sys.stdin.buffer:
        match requests.decode(line):
            case Train(plan=plan):
                last = guarded(tell, lambda plan=plan: train(plan, tell))
            case Verify(adapter_dir=folder) if last is not None:
                guarded(tell, lambda folder=folder, last=last: verify(last, Path(folder), tell))


def guarded(tell: Callable[[Frame], None], work: Callable[[], Result]) -> Result | None:
    """Do the work; what it raises becomes a `failed` frame, the traceback goes to stderr."""
    try:
        return work()
    except Exception as error:
        from app.trainer_worker.training.failures import failure_of
        from app.trainer_worker.training.run import memory_peak

        traceback.print_exc()
        sys.stderr.flush()
        tell(msgspec.structs.replace(failure_of(error), memory_peak=memory_peak()))
        return None


def quieten() -> None:
    """No hub, no telemetry, no bars: what matters comes as frames."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "TQDM_DISABLE": "1",
    }


if __name__ == "__main__":
    main()
