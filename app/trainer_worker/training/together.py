"""What the processes of one attempt say to each other: their shares of a sum, and what the first has decided.

Each holds a part of what is counted: what is true is the sum over all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState
from torch import distributed

from app.trainer_worker.training.plan import Plan

# How the libraries below say that another process is gone, or has not answered in time.
LOST = re.compile(
    r"gloo|nccl|timed out|timeout|broken pipe|connection (was )?(closed|reset|refused)", re.IGNORECASE
)
OF_THIS_MACHINE = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


class Together:
    """One process, `rank`, of `size`; alone, every question answers itself."""

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None) -> None:
        self.rank, self.size, self._group = rank, size, group

    def decided(self, *flags: bool) -> list[bool]:
        """What the first process says to these questions, which all ask at once."""
        if self.size == 1:
            return list(flags)
        told = torch.tensor(flags, dtype=torch.uint8)
        distributed.broadcast(told, 0, self._group)
        return [bool(one) for one in told]

    def summed(self, *numbers: float) -> list[float]:
        """Each number summed over all processes."""
        if self.size == 1:
            return list(numbers)
        told = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(told, group=self._group)
        return [float(one) for one in told]

    def gathered(self, share: Any) -> list[Any]:
        """What each process has of something, in their order."""
        shares = [share] * self.size
        if self.size > 1:
            distributed.all_gather_object(shares, share, self._group)
        return shares


ALONE = Together()


@contextmanager
def together(plan: Plan, rank: int, meeting: Path) -> Iterator[Together]:
    """Be this rank of the plan's processes, which meet at a file, for as long as the block runs."""
    size, cpu = plan.processes, plan.device == "cpu"
    threads = max(1, torch.get_num_threads() // size)
    environment = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "OMP_NUM_THREADS": threads,  # or accelerate chooses, by cores that may not be ours
    }
    within = timedelta(seconds=plan.stall_seconds)
    before, had = dict(os.environ), torch.get_num_threads()
    os.environ |= {name: str(value) for name, value in environment.items()}
    for name, value in OF_THIS_MACHINE.items():
        os.environ.setdefault(name, value)
    _forget()
    if cpu:
        torch.set_num_threads(threads)
    else:
        torch.cuda.set_device(rank)
    try:
        store = distributed.FileStore(str(meeting), size)  # type: ignore[attr-defined]
        distributed.init_process_group(
            "gloo" if cpu else "nccl", store=store, rank=rank, world_size=size, timeout=within
        )
        # What is decided is no matter for a GPU, whose next step it would wait for.
        yield Together(rank, size, None if cpu else distributed.new_group(backend="gloo", timeout=within))
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        _forget()
        torch.set_num_threads(had)
        os.environ.clear()
        os.environ.update(before)


def is_loss_of_others(error: BaseException) -> bool:
    """Whether this was raised because another process is gone or silent: why, that one knows."""
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and LOST.search(str(error)) is not None


def _forget() -> None:
    """Let accelerate look again whether there is one process or more."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
