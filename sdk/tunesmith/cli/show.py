"""Jobs, files and models as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunesmith import File, FileCheck, Model, StepMetric, TuningJob
from tunesmith.cli.progress import COLOURS


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[Any]], none: str) -> None:
    """Rows under headings, or a sentence when there are none."""
    shown = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        right = column in {"step", "loss", "bytes", "rows", "line", "epoch", "tokens/s", "rate", "context"}
        first = column == columns[0]  # an id is there to be copied
        shown.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=first)
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(_word(cell)) for cell in row))
    if shown.row_count:
        console.print(shown)
    else:
        console.print(Text(none))


def fields(console: Console, pairs: Mapping[str, Any]) -> None:
    """A thing's fields, one a line; those that are not set are left out."""
    shown = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        if value is not None and value not in ([], {}):
            shown.add_row(Text(name, style="bold"), value if isinstance(value, Text) else Text(_word(value)))
    console.print(shown)


def jobs(console: Console, rows: Iterable[TuningJob]) -> None:
    """A list of jobs."""
    cells = (
        (
            job.id,
            status(job.status),
            job.phase,
            f"{job.metrics.progress:.0%}" if job.metrics and job.metrics.progress is not None else None,
            job.model,
            when(job.created_at),
            job.fine_tuned_model,
        )
        for job in rows
    )
    columns = ("job", "status", "phase", "done", "model", "created", "tuned model")
    table(console, columns, cells, "There are no such jobs.")


def job(console: Console, of: TuningJob) -> None:
    """One job."""
    pairs = of.to_dict() | {
        "status": status(of.status),
        "created_at": when(of.created_at),
        "started_at": when(of.started_at),
        "finished_at": when(of.finished_at),
        "error": f"{of.error.code}: {of.error.message}" if of.error else None,
    }
    pairs.pop("object", None)
    fields(console, pairs)


def files(console: Console, rows: Iterable[File]) -> None:
    """A list of files."""
    cells = (
        (file.id, status(file.status), file.filename, file.bytes, file.rows, when(file.created_at))
        for file in rows
    )
    table(console, ("file", "status", "name", "bytes", "rows", "created"), cells, "There are no such files.")


def file(console: Console, of: File) -> None:
    """One file."""
    pairs = dict(of) | {"status": status(of.status), "created_at": when(of.created_at)}
    pairs.pop("object", None)
    fields(console, pairs)


def check(console: Console, of: FileCheck) -> None:
    """What the check of a file found."""
    faults = of.faults or []
    if of.statistics:
        fields(console, of.statistics)
    if of.status == "uploaded":
        console.print(Text("The file is still being checked."))
    elif faults:
        cells = ((fault.line, fault.code, fault.pointer, fault.message, fault.fix) for fault in faults)
        table(console, ("line", "code", "where", "what", "fix"), cells, "")
        if (of.fault_count or 0) > len(faults):
            console.print(Text(f"and {(of.fault_count or 0) - len(faults)} more"))
    elif of.status == "error":
        console.print(Text("The check found faults."))
    else:
        console.print(Text("No faults."))


def models(console: Console, rows: Iterable[Model]) -> None:
    """A list of models."""
    cells = (
        (model.id, model.owned_by, model.context_length, model.license, model.base_model) for model in rows
    )
    columns = ("model", "owner", "context", "licence", "made from")
    table(console, columns, cells, "There are no models.")


def steps(console: Console, rows: Iterable[StepMetric]) -> None:
    """A loss curve's steps."""
    cells = (
        (
            step.step,
            _rounded(step.epoch),
            _rounded(step.loss),
            _rounded(step.learning_rate),
            _rounded(step.tokens_per_second),
        )
        for step in rows
    )
    table(console, ("step", "epoch", "loss", "rate", "tokens/s"), cells, "There are no steps yet.")


def status(word: str) -> Text:
    """A status in its colour."""
    return Text(word, style={"processed": "green", "error": "red"}.get(word) or COLOURS.get(word, ""))


def when(seconds: int | None) -> str | None:
    """Unix seconds as local time."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S") if seconds else None


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "  ".join(f"{name}={_word(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, list):
        return "  ".join(_word(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
