"""What a tuning would be, before it is created: estimate and preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from app.api.schemas.tunings import TuningRequest
from app.datasets.measure import FINDINGS_KEPT, Measure, Shown, ShownSide, Totals
from app.datasets.reading import Finding
from app.datasets.statistics import Lengths
from app.domain.hyperparameters import Hyperparameters
from app.domain.tunings import Method

LineNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class EstimateRequest(TuningRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tuning to look at before it is created, and which of the findings in its rows to tell."""

    findings_limit: Annotated[
        int, Meta(ge=0, le=10_000, description="How many findings to tell at most.")
    ] = FINDINGS_KEPT
    findings_after: Annotated[
        int, Meta(ge=0, le=2**31 - 1, description="Tell those behind the first so many; all are counted.")
    ] = 0


class PreviewRequest(EstimateRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tuning to look at before it is created, and which rows of its training file to show."""

    lines: Annotated[
        Annotated[tuple[LineNumber, ...], Meta(min_length=1, max_length=20)] | None,
        Meta(description="The rows to show, by their 1-based lines; else the first ones."),
    ] = None
    first: Annotated[int, Meta(ge=0, le=20, description="How many rows to show from the beginning.")] = 3


class RowFinding(Struct, frozen=True, kw_only=True):
    """What is wrong with a row for this model. A warning does not keep it from being trained on."""

    param: Annotated[
        Literal["training_file", "validation_file"], Meta(description="Which of the files the row is in.")
    ]
    line: Annotated[int, Meta(description="From 1.")]
    pointer: Annotated[str, Meta(description="JSON pointer to the place in the line; empty for all of it.")]
    code: Annotated[str, Meta(description="Stable; for programs.")]
    message: Annotated[str, Meta(description="What is wrong.")]
    fix: Annotated[str, Meta(description="What to do about it.")]
    warning: Annotated[bool, Meta(description="Whether the row can be trained on all the same.")]


Findings = Annotated[
    list[RowFinding],
    Meta(
        description="Those asked for: first rows of the validation file that are trained on, a thousand at "
        "most, then by line."
    ),
]
Unseen = Annotated[
    tuple[str, ...],
    Meta(
        description="What was not looked at, in sentences; empty when everything was. The trainer looks at "
        "all rows before its first step."
    ),
]


class TokenCounts(Struct, frozen=True, kw_only=True):
    """Tokens of a file in one pass over it."""

    rows: Annotated[int, Meta(description="Rows that can be trained on.")]
    tokens: Annotated[int, Meta(description="Read.")]
    trainable_tokens: Annotated[int, Meta(description="Learned.")]
    cut_tokens: Annotated[int, Meta(description="Behind max_length.")]
    cut_trainable_tokens: Annotated[int, Meta(description="Of those that are cut, how many answers lose.")]
    rows_cut: Annotated[int, Meta(description="Rows that are longer than max_length.")]
    longest_row: Annotated[int, Meta(description="In tokens, once it is cut.")]
    row_lengths: Annotated[Lengths | None, Meta(description="Tokens a row, before it is cut.")]


class StepCounts(Struct, frozen=True):
    """Optimizer steps."""

    per_epoch: Annotated[int, Meta(description="In one pass over the training rows.")]
    total: Annotated[int, Meta(description="In the whole training.")]


class MemoryParts(Struct, frozen=True, kw_only=True):
    """Estimated memory on the device, in bytes, by part; a tuning is given to a worker by this total.

    Rows are counted as long as the longest one is, about, as the check of the file saw it.
    """

    weights: Annotated[int, Meta(description="The base model's.")]
    adapter: Annotated[int, Meta(description="Its weights and their gradient.")]
    optimizer: Annotated[int, Meta(description="AdamW's two moments.")]
    activations: Annotated[int, Meta(description="What is kept for the backward pass.")]
    logits: Annotated[int, Meta(description="The predictions and their gradient.")]
    runtime: Annotated[int, Meta(description="The libraries, and what the allocator keeps back.")]
    total: Annotated[int, Meta(description="All of it.")]


class SlotFit(Struct, frozen=True, kw_only=True):
    """A place for one tuning on a living worker, and whether this one fits there."""

    worker: Annotated[str, Meta(description="Name of the worker.")]
    slot: Annotated[int, Meta(description="Number of the place on it, from 0.")]
    device: Annotated[str, Meta(description="What it computes on.")]
    memory: Annotated[int, Meta(description="Bytes.")]
    free: Annotated[bool, Meta(description="Whether nothing runs there now.")]
    fits: Annotated[bool, Meta(description="Whether there is memory enough.")]


class Suggestion(Struct, frozen=True, kw_only=True):
    """The smallest change that makes a tuning fit."""

    hyperparameters: Annotated[dict[str, Any], Meta(description="What to set.")]
    memory: Annotated[int, Meta(description="Bytes that it needs then.")]


class TimeEstimate(Struct, frozen=True, kw_only=True):
    """How long training will take, without waiting, loading and saving."""

    seconds: Annotated[int | None, Meta(description="Null when no speed was observed.")]
    device: Annotated[
        str | None, Meta(description="The kind of device, such as `cuda`, whose speed that is; else null.")
    ]
    tokens_per_second: Annotated[
        float | None, Meta(description="The speed that was observed; null when none was.")
    ]
    reason: Annotated[str, Meta(description="Where the speed comes from, or why there is none.")]


class TuningEstimate(Struct, frozen=True, kw_only=True):
    """What a tuning would need."""

    object: Literal["tuning.estimate"] = "tuning.estimate"
    model: Annotated[str, Meta(description="The base model.")]
    method: Annotated[Method, Meta(description="How it would be trained.")]
    hyperparameters: Annotated[Hyperparameters, Meta(description='As resolved: no `"auto"` is left.')]
    complete: Annotated[
        bool, Meta(description="Whether every row was measured; else counts are extrapolated.")
    ]
    unseen: Unseen
    rows_measured: Annotated[int, Meta(description="Rows of both files that can be trained on.")]
    training: Annotated[TokenCounts, Meta(description="One pass over the training file.")]
    validation: Annotated[TokenCounts | None, Meta(description="One pass over the validation file.")]
    total_tokens: Annotated[int, Meta(description="Read in training, over all epochs.")]
    total_trainable_tokens: Annotated[int, Meta(description="Learned in training, over all epochs.")]
    steps: Annotated[StepCounts, Meta(description="Optimizer steps.")]
    memory: Annotated[MemoryParts, Meta(description="What it needs on the device.")]
    fits: Annotated[bool | None, Meta(description="Whether any living worker has room; null without one.")]
    workers: Annotated[list[SlotFit], Meta(description="Every place of every living worker.")]
    suggestion: Annotated[
        Suggestion | None, Meta(description="When it fits nowhere, and there is something that would.")
    ]
    time: Annotated[TimeEstimate, Meta(description="How long it trains.")]
    findings: Findings
    finding_counts: Annotated[dict[str, int], Meta(description="How many there are, by code.")]
    has_more: Annotated[bool, Meta(description="Whether there are findings behind these: `findings_after`.")]


class PreviewToken(Struct, frozen=True):
    """A token."""

    id: Annotated[int, Meta(description="Number of the token in the model's vocabulary.")]
    text: Annotated[str, Meta(description="What it stands for.")]
    trained: Annotated[bool, Meta(description="Whether it is learned.")]


class CutEnd(Struct, frozen=True, kw_only=True):
    """The end of a row that lies behind max_length."""

    tokens: Annotated[int, Meta(description="How many are cut.")]
    trainable_tokens: Annotated[int, Meta(description="How many of those would have been learned.")]
    text: Annotated[str, Meta(description="Its beginning.")]


class PreviewRow(Struct, frozen=True, kw_only=True):
    """A row as the model reads it."""

    line: Annotated[int, Meta(description="From 1.")]
    tokens: Annotated[
        list[PreviewToken],
        Meta(description="Their texts together are the text; of a pair, the better answer's."),
    ]
    rejected: Annotated[
        list[PreviewToken] | None, Meta(description="Of a pair, the worse answer's; else null.")
    ]
    cut: Annotated[
        CutEnd | None, Meta(description="Of a pair, the better answer's end. Null when all of it fits.")
    ]
    rejected_cut: Annotated[
        CutEnd | None, Meta(description="Of a pair, the worse answer's end. Null when all of it fits.")
    ]
    fault: Annotated[str | None, Meta(description="Why it cannot be read; then there are no tokens.")]
    findings: Annotated[list[RowFinding], Meta(description="Everything that is wrong with this row.")]


class TuningPreview(Struct, frozen=True, kw_only=True):
    """What a tuning would be trained on."""

    object: Literal["tuning.preview"] = "tuning.preview"
    model: Annotated[str, Meta(description="The base model.")]
    method: Annotated[Method, Meta(description="How it would be trained.")]
    hyperparameters: Annotated[Hyperparameters, Meta(description='As resolved: no `"auto"` is left.')]
    preview_hash: Annotated[
        str | None,
        Meta(
            description="SHA-256 over the tokens and labels of every row: created with it, a tuning trains "
            "exactly this or fails."
        ),
    ]
    reason: Annotated[str | None, Meta(description="Why there is no preview_hash.")]
    complete: Annotated[bool, Meta(description="Whether every row was measured.")]
    unseen: Unseen
    rows_measured: Annotated[int, Meta(description="Rows of both files that can be trained on.")]
    rows: Annotated[list[PreviewRow], Meta(description="The rows that were asked for, in their order.")]
    findings: Findings
    finding_counts: Annotated[dict[str, int], Meta(description="How many there are, by code.")]
    has_more: Annotated[bool, Meta(description="Whether there are findings behind these: `findings_after`.")]


def finding_views(findings: Sequence[Finding]) -> list[RowFinding]:
    """What is wrong with rows."""
    return [RowFinding(**asdict(finding)) for finding in findings]


def counts_view(totals: Totals, rows: int | None) -> TokenCounts:
    """Counts of a file; of all its `rows` when they are given, and not only of those that were measured."""
    share = rows / totals.rows if rows and totals.rows else 1.0
    return TokenCounts(
        rows=round(totals.rows * share),
        tokens=round(totals.tokens * share),
        trainable_tokens=round(totals.trainable * share),
        cut_tokens=round(totals.cut * share),
        cut_trainable_tokens=round(totals.cut_trainable * share),
        rows_cut=round(totals.rows_cut * share),
        longest_row=totals.longest,
        row_lengths=totals.lengths,
    )


def preview_rows(measure: Measure) -> list[PreviewRow]:
    """The rows that were asked for, in the order of their lines."""
    return [_preview_row(row) for row in measure.shown]


def _preview_row(row: Shown) -> PreviewRow:
    better, worse = (*row.sides, None, None)[:2]
    faults = [finding.message for finding in row.findings if not finding.warning]
    return PreviewRow(
        line=row.line,
        tokens=_token_views(better) if better else [],
        rejected=_token_views(worse) if worse else None,
        cut=_cut_end(better),
        rejected_cut=_cut_end(worse),
        fault=faults[0] if faults and not row.sides else None,
        findings=finding_views(row.findings),
    )


def _token_views(side: ShownSide) -> list[PreviewToken]:
    return [PreviewToken(token.id, token.text, token.trained) for token in side.tokens]


def _cut_end(side: ShownSide | None) -> CutEnd | None:
    if side is None or not side.cut:
        return None
    return CutEnd(tokens=side.cut, trainable_tokens=side.cut_trainable, text=side.cut_text)
