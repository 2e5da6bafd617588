"""Jobs, files and models as text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunesmith import (
    Account,
    ApiKey,
    AuditEntry,
    Checkpoint,
    ExampleLoss,
    File,
    FileCheck,
    FileFault,
    Model,
    StepMetric,
    TuningEvent,
    TuningJob,
)
from tunesmith.cli.progress import COLOURS

WIDE = 120
"""Columns of a console that has room for everything."""

WHOLE = {"status", "outcome", "action", "done", "age", "created", "expires", "when", "at", "state"}
RIGHT = {
    *("allowed", "attempt", "bytes", "context", "done", "epoch", "line", "loss", "rate", "rows", "running"),
    *("eval loss", "slot", "step", "tokens/s", "tries", "used"),
    *("tokens", "trained", "loss before", "loss after"),
}
WORDS = {
    **dict.fromkeys(("processed", "active", "delivered"), "green"),
    **dict.fromkeys(("error", "refused", "revoked", "stopped"), "red"),
    **dict.fromkeys(("expired",), "yellow"),
}


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[Any]], none: str) -> None:
    """Rows under headings, or a sentence when there are none."""
    shown = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        # An id is there to be copied, and a word cut in two is hard to read.
        whole = column == columns[0] or column in WHOLE
        shown.add_column(
            column, justify="right" if column in RIGHT else "left", overflow="fold", no_wrap=whole
        )
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
    """A list of jobs; on a narrow console without what `get` tells."""
    narrow = console.width < WIDE
    cells = (
        (
            job.id,
            status(job.status),
            *([] if narrow else [job.phase]),
            f"{job.metrics.progress:.0%}" if job.metrics and job.metrics.progress is not None else None,
            job.model,
            *([age(job.created_at)] if narrow else [when(job.created_at), job.fine_tuned_model]),
        )
        for job in rows
    )
    wide = ("job", "status", "phase", "done", "model", "created", "tuned model")
    columns = ("job", "status", "done", "model", "age") if narrow else wide
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


def examples(console: Console, rows: Iterable[ExampleLoss]) -> None:
    """Training rows and what they cost the model."""
    cells = (
        (row.line, row.tokens, row.trained_tokens, _rounded(row.loss_before), _rounded(row.loss_after))
        for row in rows
    )
    columns = ("line", "tokens", "trained", "loss before", "loss after")
    table(console, columns, cells, "No row was looked at.")


def files(console: Console, rows: Iterable[File]) -> None:
    """A list of files."""
    cells = (
        (
            file.id,
            status(file.status),
            file.filename,
            file.bytes,
            file.rows,
            moment(console, file.created_at),
        )
        for file in rows
    )
    columns = ("file", "status", "name", "bytes", "rows", moment_column(console))
    table(console, columns, cells, "There are no such files.")


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
        _faults(console, faults, of.fault_count, "red")
    elif of.status == "error":
        console.print(Text("The check found faults."))
    else:
        console.print(Text("No faults."))
    if of.warnings:
        console.print()
        _faults(console, of.warnings, of.warning_count, "yellow")


def _faults(console: Console, rows: Sequence[FileFault], count: int | None, style: str) -> None:
    cells = (
        (each.line, Text(each.code or "", style=style), each.pointer, each.message, each.fix) for each in rows
    )
    table(console, ("line", "code", "where", "what", "fix"), cells, "")
    if (count or 0) > len(rows):
        console.print(Text(f"and {(count or 0) - len(rows)} more"))


def models(console: Console, rows: Iterable[Model]) -> None:
    """A list of models; on a narrow console without what a tuned one's long id says as well."""
    narrow = console.width < WIDE
    cells = (
        (
            model.id,
            model.context_length,
            *([] if narrow else [model.owned_by, model.license, model.base_model]),
        )
        for model in rows
    )
    columns = ("model", "context", *([] if narrow else ["owner", "licence", "made from"]))
    table(console, columns, cells, "There are no models.")


def steps(console: Console, rows: Iterable[StepMetric]) -> None:
    """A loss curve's steps."""
    cells = (
        (
            step.step,
            _rounded(step.epoch),
            _rounded(step.loss),
            _rounded(step.eval_loss),
            _rounded(step.learning_rate),
            _rounded(step.tokens_per_second),
        )
        for step in rows
    )
    columns = ("step", "epoch", "loss", "eval loss", "rate", "tokens/s")
    table(console, columns, cells, "There are no steps yet.")


def event(console: Console, of: TuningEvent) -> None:
    """One event: a line, or in a terminal that is too narrow some, its words beside each other."""
    style = {"warn": "yellow", "error": "red"}.get(of.level or "", "")
    head, words = f"{when(of.created_at)}  {of.version:>3}  {of.type:<16}  ", of.message or ""
    if console.is_terminal:
        words = "\n".join(
            (" " * len(head) if number else "") + line
            for number, line in enumerate(
                wrap(words, max(20, console.width - len(head)), break_on_hyphens=False)
            )
        )
    console.print(Text(head).append(words, style=style), soft_wrap=True)


def checkpoints(console: Console, rows: Iterable[Checkpoint]) -> None:
    """A list of checkpoints."""
    cells = (
        (each.id, each.step, each.epoch, each.attempt, each.bytes, moment(console, each.created_at))
        for each in rows
    )
    columns = ("checkpoint", "step", "epoch", "attempt", "bytes", moment_column(console))
    table(console, columns, cells, "There are no checkpoints yet.")


def keys(console: Console, rows: Iterable[ApiKey]) -> None:
    """A list of keys."""
    cells = (
        (
            each.id,
            each.name,
            status(each.status or ""),
            ", ".join(each.scopes or []) if console.width >= WIDE else ",".join(each.scopes or []),
            when(each.expires_at, day=console.width < WIDE),
        )
        for each in rows
    )
    table(console, ("key", "name", "status", "scopes", "expires"), cells, "There are no keys.")


def accounts(console: Console, rows: Iterable[Account]) -> None:
    """A list of accounts."""
    cells = (
        (
            each.id,
            each.name,
            "suspended" if each.suspended else "",
            _used(each),
            moment(console, each.created_at),
        )
        for each in rows
    )
    columns = ("account", "name", "state", "running", moment_column(console))
    table(console, columns, cells, "There are no accounts.")


def _used(account: Account) -> int | None:
    return account.usage.running_tunings if account.usage else None


def account(console: Console, of: Account) -> None:
    """One account: what it uses of what it may have."""
    fields(
        console,
        {"id": of.id, "name": of.name, "created_at": when(of.created_at), "suspended": of.suspended or None},
    )
    own = dict(of.limits or {})
    force = dict(of.limits_in_force or own)
    used = dict(of.usage or {})
    used["creates_per_minute"] = used.get("creates_last_minute")
    cells = (
        (
            name,
            used.get(name),
            "unlimited" if limit == 0 else limit,
            "default" if own.get(name) is None else "",
        )
        for name, limit in force.items()
    )
    console.print()
    table(console, ("limit", "used", "allowed", ""), cells, "")


def audit(console: Console, rows: Iterable[AuditEntry]) -> None:
    """Entries of the audit log; on a narrow console without who it was."""
    narrow = console.width < WIDE
    cells = (
        (
            age(each.at) if narrow else when(each.at),
            status(each.outcome),
            each.action,
            each.code or each.status,
            each.target,
            *([] if narrow else [each.actor]),
        )
        for each in rows
    )
    columns = ("age" if narrow else "when", "outcome", "action", "answer", "about")
    table(console, columns if narrow else (*columns, "by"), cells, "There are no such entries.")


def status(word: str) -> Text:
    """A status in its colour."""
    return Text(word, style=WORDS.get(word) or COLOURS.get(word, ""))


def when(seconds: int | None, *, day: bool = False) -> str | None:
    """Unix seconds as local time, or as the day alone."""
    form = "%Y-%m-%d" if day else "%Y-%m-%d %H:%M:%S"
    return datetime.fromtimestamp(seconds).astimezone().strftime(form) if seconds else None


def moment(console: Console, seconds: int | None) -> str | None:
    """When something was made; on a narrow console how long ago."""
    return age(seconds) if console.width < WIDE else when(seconds)


def moment_column(console: Console) -> str:
    """The heading over `moment`."""
    return "age" if console.width < WIDE else "created"


def age(seconds: int | None) -> str | None:
    """How long ago Unix seconds were, roughly."""
    if seconds is None:
        return None
    passed = max(0.0, time.time() - seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if passed >= size:
            return f"{passed // size:.0f} {unit}"
    return f"{passed:.0f} s"


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
