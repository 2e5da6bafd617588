"""Why training ended: exceptions as stable codes, whose fault it was, and what to do."""

from __future__ import annotations

import errno

import torch

from app.trainer_worker.training.frames import Failed


class TrainingFault(Exception):
    """A fault with a code of its own."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


def bad_rows(code: str, lines: list[int], what: str, param: str = "training_file") -> TrainingFault:
    """Rows that cannot be trained on, by their lines."""
    shown = ", ".join(map(str, lines[:10])) + (f" and {len(lines) - 10} more" if len(lines) > 10 else "")
    return TrainingFault(Failed(code, "user", f"{what} (lines {shown})", param))


def failure_of(error: BaseException) -> Failed:
    """The frame for whatever was raised."""
    if isinstance(error, TrainingFault):
        return error.failed
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower():
        return Failed(
            "out_of_memory",
            "user",
            "the device ran out of memory; halve batch_size or max_length, or set use_quantization",
            "hyperparameters.batch_size",
        )
    if isinstance(error, MemoryError):
        return Failed("out_of_memory", "platform", "the worker's machine ran out of memory; try again", retryable=True)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = "the worker's disk is full; the operator must free space"
        return Failed("disk_full", "platform", message, retryable=True)
    if isinstance(error, (FileNotFoundError, OSError)):
        return Failed("files_unreadable", "platform", f"files of the model or data cannot be read: {error}")
    return Failed(
        "internal_error", "platform", f"training ended with {type(error).__name__}; the attempt's log has the traceback"
    )
