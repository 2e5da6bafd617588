"""Why training ended: exceptions as stable codes, whose fault it was, and what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from app.trainer_worker.training.frames import Failed
from app.trainer_worker.training.plan import PlanError

LINES_SHOWN = 10


class TrainingFault(Exception):
    """A fault with a code of its own."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


class BadRow(Struct, frozen=True):
    """A row that cannot be trained on: its 1-based line and why."""

    line: int
    reason: str


def bad_rows(rows: Sequence[BadRow], param: str) -> TrainingFault:
    """Rows that cannot be read as they are."""
    message = f"{_count(rows, 'row')} of the {_named(param)} cannot be trained on: {_listed(rows)}"
    return TrainingFault(Failed("bad_rows", "user", f"{message}; mend or remove them", param))


def nothing_to_train(lines: Sequence[int], param: str, max_length: int) -> TrainingFault:
    """Rows whose answers lie wholly behind `max_length` tokens."""
    shown = ", ".join(map(str, lines[:LINES_SHOWN]))
    more = f" and {len(lines) - LINES_SHOWN} more" if len(lines) > LINES_SHOWN else ""
    message = (
        f"rows of the {_named(param)} have nothing left to train on once they are cut to max_length "
        f"{max_length}: lines {shown}{more}; raise max_length, or shorten or remove them"
    )
    return TrainingFault(Failed("no_trainable_tokens", "user", message, param))


def no_rows(param: str) -> TrainingFault:
    """A file without any row."""
    message = f"the {_named(param)} has no rows; upload one that has"
    return TrainingFault(Failed("bad_rows", "user", message, param))


def labels_changed(previewed: str, found: str) -> TrainingFault:
    """What would be trained is not what was previewed."""
    message = "what would be trained is not what was previewed; preview the tuning anew and create it again"
    return TrainingFault(Failed("labels_changed", "platform", message, detail=f"{previewed} != {found}"))


def unusable_loss(loss: float, step: int) -> TrainingFault:
    """A loss of exactly 0, or one that is no number: going on would only make an adapter worth nothing."""
    if loss == 0.0:
        message = (
            f"the loss is exactly 0 at step {step}: these rows teach nothing, or nothing any more; "
            "see the file's rows, or train for fewer epochs"
        )
        return TrainingFault(Failed("loss_is_zero", "user", message, "training_file"))
    if step <= 1:
        message = (
            f"the loss is {loss} before anything was learned: the base model itself computes no number; "
            "ask the operator to check the model's files"
        )
        return TrainingFault(Failed("model_not_finite", "platform", message, "model"))
    message = (
        f"the loss is {loss} at step {step}: training ran away; lower learning_rate, or raise batch_size"
    )
    return TrainingFault(Failed("loss_not_finite", "user", message, "hyperparameters.learning_rate"))


def unknown_target_modules(wanted: str) -> TrainingFault:
    """An adapter was asked for on modules that the model does not have."""
    message = (
        f"the model has no modules {wanted} for an adapter; use all-linear, or names of its linear layers"
    )
    return TrainingFault(Failed("unknown_target_modules", "user", message, "hyperparameters.target_modules"))


def model_unreadable(error: BaseException) -> TrainingFault:
    """The base model's files are not there, or are not what they should be."""
    message = (
        "the base model's files cannot be read; the operator must remove them from the cache and try again"
    )
    return TrainingFault(Failed("model_unreadable", "platform", message, "model", detail=summary(error)))


def adapter_not_usable_again(error: BaseException) -> TrainingFault:
    """The adapter to go on from cannot be laid on the base model."""
    message = "the adapter to go on from does not fit the base model; go on from another, or from the base"
    return TrainingFault(Failed("file_unusable", "platform", message, "model", detail=summary(error)))


def adapter_unusable(what: str, error: BaseException | None = None) -> TrainingFault:
    """The stored adapter is not the one that was trained."""
    message = f"{what}; create the tuning again, and tell the operator if it happens twice"
    detail = summary(error) if error is not None else ""
    return TrainingFault(Failed("adapter_unusable", "platform", message, retryable=True, detail=detail))


def merged_unusable(what: str, error: BaseException | None = None) -> TrainingFault:
    """The adapter was merged into something that is not what was trained."""
    message = f"{what}; create the tuning without export, and tell the operator"
    detail = summary(error) if error is not None else ""
    return TrainingFault(Failed("merged_unusable", "platform", message, "export", detail=detail))


def too_little_memory(max_length: int) -> TrainingFault:
    """Memory runs out with one row at a time, and with nothing kept that can be computed again."""
    message = (
        f"too little memory on the device for one row at a time at max_length {max_length}; halve that, or "
        "set use_quantization"
    )
    return TrainingFault(Failed("out_of_memory", "user", message, "hyperparameters.max_length"))


def ran_away(loss: float, step: int, limit: float) -> TrainingFault:
    """The loss has gone where no learning is, and stays there."""
    message = (
        f"the loss is {loss:.1f} at step {step} and has been above {limit:.1f} for many steps: training ran "
        "away; lower learning_rate, or raise batch_size"
    )
    return TrainingFault(Failed("loss_ran_away", "user", message, "hyperparameters.learning_rate"))


def failure_of(error: BaseException) -> Failed:
    """The frame for whatever was raised."""
    if isinstance(error, TrainingFault):
        return error.failed
    failed = _failure_of(error)
    return msgspec.structs.replace(failed, detail=failed.detail or summary(error))


def _failure_of(error: BaseException) -> Failed:
    if isinstance(error, PlanError):
        return Failed("plan_unusable", "platform", f"{error}; server and worker must be of one version")
    if is_out_of_memory(error):
        message = "too little memory on the device for the model; set use_quantization"
        return Failed("out_of_memory", "user", message, "hyperparameters.use_quantization")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = "the worker's disk is full; the operator must free space there"
        return Failed("disk_full", "platform", message, retryable=True)
    if isinstance(error, OSError):
        message = "the worker cannot read or write one of its files; the attempt's log names it"
        return Failed("files_unreadable", "platform", message, retryable=True)
    message = f"training broke with {type(error).__name__}; ask the operator for the attempt's log"
    return Failed("internal_error", "platform", message)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how a library says that no memory is left."""
    # torch has an exception of its own for GPUs; on a CPU it is a RuntimeError of the allocator.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = r"out of memory|can't allocate memory|not enough memory|cannot allocate memory|bad_?alloc"
    return isinstance(error, RuntimeError) and re.search(words, str(error), re.IGNORECASE) is not None


def summary(error: BaseException) -> str:
    """An error's type and the first line of what it says."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first[:300]}"


def _count(rows: Sequence[BadRow], noun: str) -> str:
    return f"{len(rows)} {noun}" if len(rows) == 1 else f"{len(rows)} {noun}s"


def _listed(rows: Sequence[BadRow]) -> str:
    shown = "; ".join(f"line {row.line}: {row.reason}" for row in rows[:LINES_SHOWN])
    return shown + (f"; and {len(rows) - LINES_SHOWN} more" if len(rows) > LINES_SHOWN else "")


def _named(param: str) -> str:
    return param.replace("_", " ")
