"""Estimates and previews as text."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from tunesmith import (
    CutEnd,
    PreviewRow,
    PreviewToken,
    RowFinding,
    TokenCounts,
    TuningEstimate,
    TuningPreview,
)
from tunesmith.cli.progress import duration
from tunesmith.cli.show import fields, table

FINDINGS_SHOWN = 20


def estimate(console: Console, of: TuningEstimate) -> None:
    """What a job would need, which workers it fits, and what would make it fit."""
    memory, steps, time = of.memory, of.steps, of.time
    fields(
        console,
        {
            "model": of.model,
            "training file": _counts(of.training),
            "validation file": _counts(of.validation),
            "tokens": f"{_number(of.total_tokens)}, {_number(of.total_trainable_tokens)} of them learned",
            "steps": f"{_number(steps.total)}, {_number(steps.per_epoch)} an epoch" if steps else None,
            "time": _time(time.seconds, time.reason) if time else None,
            "memory": size(memory.total) if memory else None,
            "": ", ".join(f"{name} {size(part)}" for name, part in (memory or {}).items() if name != "total")
            or None,
            "fits": {True: "yes", False: "on no worker", None: "no worker is alive"}.get(of.fits),
        },
    )
    if of.complete is False:
        console.print(Text(f"counts are extrapolated from {_number(of.rows_measured)} rows", style="yellow"))
    if of.workers:
        console.print()
        places = (
            (each.worker, each.slot, each.device, size(each.memory), _yes(each.free), _yes(each.fits))
            for each in of.workers
        )
        table(console, ("worker", "slot", "device", "memory", "free", "fits"), places, "")
    if of.suggestion:
        flags = " ".join(
            f"--{name.replace('_', '-')}" if value is True else f"--{name.replace('_', '-')} {value}"
            for name, value in of.suggestion.hyperparameters.items()
        )
        console.print()
        console.print(Text(f"It would fit with {flags}: {size(of.suggestion.memory)}", style="bold"))
    unseen(console, of.unseen)
    findings(console, of.findings or [], of.finding_counts or {})


def measured(console: Console, of: TuningEstimate) -> None:
    """A file as a model reads it."""
    console.print()
    fields(console, {f"as {of.model} reads it": _counts(of.training)})
    unseen(console, of.unseen)
    if of.findings:
        findings(console, of.findings, of.finding_counts or {}, most=None)
    elif of.complete is not False:
        console.print(Text("Every row can be trained on whole."))


def preview(console: Console, of: TuningPreview, *, only_rows: bool = False) -> None:
    """Rows as the model reads them, and the hash that holds a job to them.

    With `only_rows` nothing is told of what was found in others.
    """
    for row in of.rows:
        for name, tokens, cut in _sides(row):
            console.print(Text(f"line {row.line}{name}", style="bold"))
            text = side(tokens, cut, marked=not console.is_terminal)
            console.print(Text(row.fault, style="red") if row.fault else text, soft_wrap=True)
            console.print()
    if only_rows:
        findings(console, [each for row in of.rows for each in row.findings or []], {}, most=None)
    else:
        unseen(console, of.unseen)
        findings(console, of.findings or [], of.finding_counts or {})
    if of.preview_hash:
        console.print(Text(f"hold a job to this with --preview-hash {of.preview_hash}"), soft_wrap=True)
    else:
        console.print(Text(f"there is no hash to hold a job to this: {of.reason}", style="yellow"))


def _sides(row: PreviewRow) -> list[tuple[str, list[PreviewToken], CutEnd | None]]:
    """What a row is trained on; of a pair both answers."""
    if row.rejected is None:
        return [("", row.tokens, row.cut)]
    return [
        (", the better answer", row.tokens, row.cut),
        (", the worse answer", row.rejected, row.rejected_cut),
    ]


def side(tokens: Iterable[PreviewToken], cut: CutEnd | None, *, marked: bool) -> Text:
    """A text, what is learned in green, what is cut struck out; with marks where there is no colour."""
    shown, learning = Text(), False
    for token in tokens:
        if marked and token.trained != learning:
            shown.append("⟦" if token.trained else "⟧")
        learning = token.trained
        shown.append(token.text, style="green" if token.trained else "dim")
    if marked and learning:
        shown.append("⟧")
    if cut:
        shown.append(cut.text or "", style="red strike")
        learned = f", {cut.trainable_tokens} of them learned" if cut.trainable_tokens else ""
        shown.append(f" ✂ {cut.tokens} tokens are cut{learned}", style="red")
    return shown


def unseen(console: Console, said: Iterable[str] | None) -> None:
    """What was not looked at."""
    for sentence in said or ():
        console.print(Text(sentence, style="yellow"))


def findings(
    console: Console, rows: Iterable[RowFinding], counts: dict[str, int], most: int | None = FINDINGS_SHOWN
) -> None:
    """What is wrong with rows, the first of them or all, and how many there are of each kind."""
    shown = list(rows)[:most]
    if not shown:
        return
    console.print()
    cells = (
        (
            each.line,
            each.pointer,
            Text(each.code or "", style="yellow" if each.warning else "red"),
            "" if each.param == "training_file" else "validation",
            each.message,
            each.fix,
        )
        for each in shown
    )
    table(console, ("line", "place", "code", "file", "what", "fix"), cells, "")
    if sum(counts.values()) > len(shown):
        told = ", ".join(f"{number} {code}" for code, number in counts.items())
        console.print(Text(f"in all: {told}; --json prints every one"))


def size(number: int | None) -> str:
    """Bytes as people read them."""
    if number is None:
        return "?"
    value, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"


def _counts(of: TokenCounts | None) -> str | None:
    if of is None:
        return None
    cut = f"; {_number(of.cut_tokens)} cut in {_number(of.rows_cut)} rows" if of.rows_cut else ""
    learned = _number(of.trainable_tokens)
    return f"{_number(of.rows)} rows, {_number(of.tokens)} tokens, {learned} learned{cut}"


def _time(seconds: int | None, reason: str | None) -> str | None:
    return (
        reason
        if seconds is None
        else f"about {duration(seconds)} ({reason})"
        if reason
        else duration(seconds)
    )


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"
