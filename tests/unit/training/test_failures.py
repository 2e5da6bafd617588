from __future__ import annotations

import errno
import re

import pytest

from app.trainer_worker.training.failures import (
    BadRow,
    adapter_not_usable_again,
    adapter_unusable,
    bad_rows,
    failure_of,
    labels_changed,
    merged_unusable,
    model_unreadable,
    no_rows,
    nothing_to_train,
    ran_away,
    too_little_memory,
    unknown_target_modules,
    unusable_loss,
)
from app.trainer_worker.training.plan import PlanError
from scripts.docs.errors import table_of_codes

FAULTS = [
    bad_rows([BadRow(1, "no JSON")], "training_file"),
    nothing_to_train([1], "training_file", 16),
    no_rows("validation_file"),
    labels_changed("a", "b"),
    unusable_loss(0.0, 3),
    unusable_loss(float("nan"), 1),
    unusable_loss(float("inf"), 9),
    ran_away(9.5, 40, 6.0),
    unknown_target_modules("q"),
    model_unreadable(OSError("/srv/model: no such file")),
    adapter_not_usable_again(KeyError("/srv/adapter")),
    adapter_unusable("stock PEFT cannot load the stored adapter", OSError("/srv/adapter")),
    merged_unusable("stock transformers cannot load the merged model", OSError("/srv/merged")),
    too_little_memory(2048),
    MemoryError("/srv"),
    PlanError("the plan cannot be used: Object missing required field `seed`"),
    OSError(errno.ENOSPC, "No space left on device", "/srv/output"),
    FileNotFoundError(errno.ENOENT, "No such file", "/srv/rows.jsonl"),
    ImportError("cannot import name 'x' from 'y' (/usr/lib/y.py)"),
]
# Of the domain, and of whoever fetches models; the rest is told by a child.
ELSEWHERE = {
    *("attempts_exhausted", "hub_unreachable"),
    *("model_forbidden", "model_not_on_hub", "model_unknown"),
}


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: failure_of(error).code)
def test_every_failure_says_what_to_do_and_nothing_of_how_and_where(error: Exception) -> None:
    failed = failure_of(error)
    [row] = [row for row in table_of_codes().failure if row.code == failed.code]
    assert (row.blame, row.retryable) == (failed.blame, failed.retryable)
    assert "; " in failed.message
    assert not re.search(r"/|Traceback|Error:", failed.message)
    assert "\n" not in failed.detail


def test_every_code_of_a_failure_is_tried_here() -> None:
    tried = {failure_of(error).code for error in FAULTS}
    assert tried | ELSEWHERE == {row.code for row in table_of_codes().failure}


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
