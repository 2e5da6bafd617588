"""How a tuning looks from outside, at every point of its life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from app.api.schemas.files import file_view
from app.api.schemas.pages import Deleted, Page, page
from app.api.schemas.tunings import Progress, QueuePosition, shown_phase, tuning_view
from app.domain.files import Fault, File
from app.domain.hyperparameters import Hyperparameters
from app.domain.tunings import Attempt, EpochResult, Failure, FileRef, ModelRef, Tuning
from app.log.metrics import Step

AT = datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC)
PENDING = Tuning(
    id="job-a",
    account_id="acct-a",
    model=ModelRef("base", "r"),
    training_file=FileRef("file-a", "00", "files/a", 1, 1),
    validation_file=None,
    hyperparameters=Hyperparameters(alpha=32.0, batch_size=1, max_length=512, epochs=2),
    method="supervised",
    suffix=None,
    metadata={},
    seed=1,
    priority=0,
    memory=0,
    request_hash="",
    created_at=AT,
)
ASSIGNED = replace(PENDING, attempt=Attempt(2, "w", "s", 0), attempts=2)
RUNNING = replace(ASSIGNED, status="running", started_at=AT)
STEP = Step(2, 3, 1.5, 0.75, 1e-4, None, 10, 5.0, 8.0, 4, 2, 0)


@pytest.mark.parametrize(
    ("tuning", "phase", "attempt", "shown"),
    [
        (PENDING, None, None, "queued"),
        (PENDING, "training", 1, "queued"),
        (ASSIGNED, None, None, "assigned"),
        (ASSIGNED, "loading", 2, "loading"),
        (ASSIGNED, "training", 1, "assigned"),
        (RUNNING, None, None, "loading"),
        (RUNNING, "training", 2, "training"),
        (RUNNING, "saving", 1, "loading"),
        (replace(RUNNING, attempt=None), "training", 2, "recovering"),
        (replace(RUNNING, attempt=None, status="succeeded"), "saving", 2, None),
        (replace(PENDING, status="cancelled"), None, None, None),
    ],
)
def test_the_phase_is_that_of_the_attempt_under_way(
    tuning: Tuning, phase: str | None, attempt: int | None, shown: str | None
) -> None:
    assert shown_phase(tuning, phase, attempt) == shown


def test_metrics_are_null_before_the_first_report() -> None:
    assert tuning_view(RUNNING, 3).metrics is None


def test_a_running_tunings_metrics_are_those_of_its_last_step() -> None:
    metrics = tuning_view(RUNNING, 3, Progress(last_step=STEP)).metrics
    assert metrics is not None
    assert (metrics.train_loss, metrics.progress, metrics.step) == (0.75, 0.75, 3)
    assert (metrics.current_epoch, metrics.total_epochs, metrics.eval_loss) == (0, 2, None)


def test_an_ended_tunings_metrics_are_those_of_its_events() -> None:
    epochs = (EpochResult(1, 2, 1.0, 1.25),)
    ended = replace(RUNNING, status="succeeded", attempt=None, epochs=epochs, train_loss=0.5, eval_loss=1.25)
    metrics = tuning_view(ended, 9, Progress(last_step=STEP)).metrics
    assert metrics is not None
    assert (metrics.train_loss, metrics.eval_loss, metrics.progress) == (0.5, 1.25, 1.0)


def test_times_are_unix_seconds() -> None:
    view = tuning_view(RUNNING, 3)
    assert (view.created_at, view.started_at, view.finished_at) == (1767323045, 1767323045, None)


@pytest.mark.parametrize(("blame", "type"), [("user", "invalid_request_error"), ("platform", "server_error")])
def test_a_failure_says_whose_fault_it_is(blame: Any, type: str) -> None:
    failed = replace(RUNNING, status="failed", failure=Failure("code", blame, "a sentence"))
    error = tuning_view(failed, 4).error
    assert error is not None
    assert (error.type, error.code, error.retryable) == (type, "code", False)


def test_the_queue_shows_for_who_waits_only() -> None:
    second = Progress(position=2)
    assert tuning_view(PENDING, 1, second).queue == QueuePosition(2, None)
    assert tuning_view(PENDING, 1).queue is None
    assert tuning_view(ASSIGNED, 2, second).queue is None
    assert tuning_view(replace(PENDING, status="cancelled"), 2, second).queue is None


def test_a_bad_files_first_fault_is_told_with_the_number_of_the_others() -> None:
    file = File(
        "file-a", "acct-a", "a.jsonl", "fine-tune", 1, "00", "files/a", AT, status="error", fault_count=3
    )
    bad = replace(file, first_fault=Fault(7, "no_messages", "/messages", "the row has no messages"))
    assert file_view(bad).status_details == "line 7: the row has no messages (and 2 more)"
    assert file_view(file).status_details is None


def test_a_page_tells_whether_there_is_another() -> None:
    rows = [Deleted(str(number), "row") for number in range(3)]
    first = page(rows, 2)
    assert (len(first.data), first.has_more, first.first_id, first.last_id) == (2, True, "0", "1")
    assert page(rows, 3).has_more is False
    assert page([], 3) == Page(data=[], has_more=False, first_id=None, last_id=None)
