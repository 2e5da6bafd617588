"""The live display of a tuning."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from scripted_server import Answer, ScriptedServer

from tunesmith import NotFoundError, StepMetric, TuningClient, TuningJob
from tunesmith.cli.progress import Lines, Progress, duration, show_progress

GET = "GET /v1/tunings.get/job-1"
METRICS = "GET /v1/tunings.metrics/job-1"
CREATED = 1_699_564_800


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[TuningClient]:
    with TuningClient("sk-test", server.url) as made:
        made._transport.sleep = lambda _: None
        yield made


def script(server: ScriptedServer, example: Any, end: dict[str, Any]) -> None:
    metrics = {
        "train_loss": 1.5,
        "eval_loss": 1.25,
        "current_epoch": 1,
        "total_epochs": 3,
        "progress": 0.4,
        "total_steps": 5,
    }
    training = {"status": "running", "phase": "training", "attempt": 1, "metrics": metrics}
    server.on(
        GET,
        Answer(example.job()),
        Answer(example.job(status="running", phase="loading", phase_detail="half fetched", attempt=1)),
        Answer(example.job(**training)),
        Answer(example.job(finished_at=CREATED + 125, **{**training, "phase": None, **end})),
    )
    server.on(
        METRICS,
        Answer(example.page()),
        Answer(example.page()),
        Answer(example.page(example.step(1), example.step(2))),
        Answer(example.page(*(example.step(step) for step in (3, 4, 5)))),
    )


def console(*, terminal: bool, width: int = 120) -> Console:
    return Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), force_terminal=terminal, width=width)


def printed(to: Console) -> str:
    to.file.flush()
    return str(to.file.buffer.getvalue(), "utf-8")  # type: ignore[attr-defined]


def test_away_from_a_terminal_each_change_is_a_line(
    client: TuningClient, server: ScriptedServer, example: Any
) -> None:
    script(server, example, {"status": "succeeded"})
    to = console(terminal=False)
    job = show_progress(client, "job-1", to, poll_interval=0.01)
    assert job.succeeded
    lines = printed(to).splitlines()
    assert len(lines) == 4
    assert "pending · queued · position 1" in lines[0]
    assert "running · loading · half fetched" in lines[1]
    assert "running · training" in lines[2]
    for figure in (
        "40%",
        "epoch 0.20/3",
        "step 2/5",
        "loss 1.5",
        "eval loss 1.25",
        "165 tokens/s",
        "0:30 left",
    ):
        assert figure in lines[2]
    assert lines[3].startswith("[2:05]  succeeded")
    assert "left" not in lines[3]


def test_a_terminal_shows_bar_figures_and_curve(
    client: TuningClient, server: ScriptedServer, example: Any
) -> None:
    script(server, example, {"status": "succeeded"})
    to = console(terminal=True)
    show_progress(client, "job-1", to, poll_interval=0.01)
    screen = printed(to)
    for words in ("✓", "succeeded", "job-1", "smollm2-135m-instruct", "step 5/5", "loss 0.6", "3 ┤", "0.6 ┤"):
        assert words in screen


def test_of_a_job_that_is_not_there_no_display_is_left(
    client: TuningClient, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, example.error(404, "not_found", "no such job"))
    to = console(terminal=True)
    with pytest.raises(NotFoundError):
        show_progress(client, "job-1", to, poll_interval=0.01)
    assert "connecting" in printed(to)
    assert printed(to).endswith("\x1b[1A\x1b[2K"), "the line is taken back"


def test_a_failure_is_told_with_its_reason(
    client: TuningClient, server: ScriptedServer, example: Any
) -> None:
    error = {"code": "out_of_memory", "message": "use a smaller batch [size]"}
    script(server, example, {"status": "failed", "error": error})
    to = console(terminal=False)
    assert show_progress(client, "job-1", to, poll_interval=0.01).status == "failed"
    assert "out_of_memory: use a smaller batch [size]" in printed(to)


def test_a_narrow_terminal_without_unicode_still_gets_a_display(
    client: TuningClient, server: ScriptedServer, example: Any
) -> None:
    script(server, example, {"status": "cancelled"})
    to = Console(file=io.TextIOWrapper(io.BytesIO(), "ascii", "replace"), force_terminal=True, width=40)
    assert show_progress(client, "job-1", to, poll_interval=0.01).status == "cancelled"
    assert "cancelled" in printed(to)


def steps(example: Any, *numbers: int) -> list[StepMetric]:
    return [StepMetric(example.step(number)) for number in numbers]


def test_on_80_columns_no_line_is_broken_whatever_the_figures(client: TuningClient, example: Any) -> None:
    training = {"status": "running", "phase": "training", "attempt": 2, "metrics": {"total_epochs": 100}}
    queue = {"position": 12, "estimated_start": CREATED + 4000}
    heights = []
    for job, step in (
        (example.job(**training), example.step(9, epoch=0.09, eval_loss=1.5)),
        (
            example.job(**training, queue=queue),
            example.step(12345, epoch=99.99, total_steps=99999, eval_loss=0.123456),
        ),
    ):
        progress, to = Progress(now=lambda: CREATED + 99_999), console(terminal=False, width=80)
        progress.take(TuningJob(client, job), [StepMetric(step)])
        to.print(progress)
        lines = printed(to).splitlines()
        heights.append(len(lines))
        assert lines[1] == "  job-1  smollm2-135m-instruct"
        assert lines[2].endswith(" 165 tokens/s  0:30 left")
        assert max(map(len, lines)) <= 80
    assert heights == [4, 4]


def test_a_later_attempt_takes_back_the_steps_after_its_checkpoint(
    client: TuningClient, example: Any
) -> None:
    progress, job = Progress(), TuningJob(client, example.job(status="running"))
    progress.take(job, steps(example, 1, 2, 3, 4))
    progress.take(job, steps(example, 3))
    assert sorted(progress.steps) == [1, 2, 3]


def test_a_step_shows_its_evaluation_once_it_is_made(client: TuningClient, example: Any) -> None:
    progress = Progress()
    job = TuningJob(client, example.job(status="running", metrics={"eval_loss": 9.0}))
    progress.take(job, steps(example, 1, 2))
    assert "eval loss 9" in progress.figures
    progress.take(job, [StepMetric(example.step(2, eval_loss=0.5)), *steps(example, 3)])
    assert sorted(progress.steps) == [1, 2, 3]
    assert "eval loss 0.5" in progress.figures


def test_losses_that_are_no_numbers_are_left_out_of_the_curve(client: TuningClient, example: Any) -> None:
    progress = Progress()
    odd = [StepMetric(example.step(1, loss=None)), StepMetric(example.step(2, loss=float("nan")))]
    progress.take(TuningJob(client, example.job(status="running")), [*odd, *steps(example, 3)])
    assert progress.losses == [1.0]


def test_lines_come_at_changes_and_now_and_then(client: TuningClient, example: Any) -> None:
    clock = [0.0]
    lines, progress = Lines(now=lambda: clock[0]), Progress(now=lambda: CREATED)
    job = TuningJob(client, example.job(status="running", phase="training"))
    told = []
    for seconds in (0.0, 1.0, 4.9, 5.0, 6.0):
        clock[0] = seconds
        progress.take(job, [])
        told.append(lines.next(progress) is not None)
    assert told == [True, False, False, True, False]


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00"), (-3, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations_are_told_like_a_clock(seconds: float, words: str) -> None:
    assert duration(seconds) == words
