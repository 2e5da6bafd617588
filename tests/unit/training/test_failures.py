from __future__ import annotations

import errno

import pytest

from app.trainer_worker.training.failures import (
    BadRow,
    adapter_unusable,
    bad_rows,
    failure_of,
    nothing_to_train,
    unusable_loss,
)
from app.trainer_worker.training.plan import PlanError


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


@pytest.mark.parametrize(
    ("error", "code", "blame", "retryable"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", "user", False),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "out_of_memory",
            "user",
            False,
        ),
        (MemoryError(), "out_of_memory", "user", False),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", "platform", True),
        (FileNotFoundError(errno.ENOENT, "No such file"), "files_unreadable", "platform", True),
        (PlanError("the plan cannot be used: x"), "plan_unusable", "platform", False),
        (ZeroDivisionError("division by zero"), "internal_error", "platform", False),
    ],
)
def test_an_error_has_a_code_and_somebody_to_act(
    error: Exception, code: str, blame: str, retryable: bool
) -> None:
    failed = failure_of(error)
    assert (failed.code, failed.blame, failed.retryable) == (code, blame, retryable)


def test_what_a_library_said_is_detail_and_never_the_message() -> None:
    failed = failure_of(KeyError("a very inner thing\nTraceback"))
    assert "inner" not in failed.message
    assert failed.detail.startswith("KeyError: ")
    assert "\n" not in failed.detail


def test_bad_rows_are_named_with_line_and_reason() -> None:
    rows = [BadRow(line, f"reason {line}") for line in range(1, 14)]
    message = failure_of(bad_rows(rows, "validation_file")).message
    assert message.startswith("13 rows of the validation file cannot be trained on: line 1: reason 1; line 2")
    assert message.endswith("and 3 more; mend or remove them")


def test_rows_cut_to_nothing_are_named_with_what_to_change() -> None:
    failed = nothing_to_train([3, 9], "training_file", 64).failed
    assert (failed.code, failed.param) == ("no_trainable_tokens", "training_file")
    assert "max_length 64: lines 3, 9; raise max_length" in failed.message


@pytest.mark.parametrize(
    ("loss", "step", "code", "blame"),
    [
        (float("nan"), 5, "loss_not_finite", "user"),
        (float("inf"), 2, "loss_not_finite", "user"),
        (float("nan"), 1, "model_not_finite", "platform"),
        (0.0, 3, "loss_is_zero", "user"),
    ],
)
def test_a_loss_that_means_nothing_is_told_apart(loss: float, step: int, code: str, blame: str) -> None:
    failed = unusable_loss(loss, step).failed
    assert (failed.code, failed.blame) == (code, blame)


def test_an_adapter_that_cannot_be_loaded_is_worth_another_try() -> None:
    failed = adapter_unusable("stock PEFT cannot load it", ValueError("size mismatch")).failed
    assert (failed.code, failed.blame, failed.retryable) == ("adapter_unusable", "platform", True)
    assert failed.detail == "ValueError: size mismatch"
