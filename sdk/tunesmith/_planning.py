"""What a tuning would be, before it is created: its estimate and its preview. Memory is in bytes."""

from __future__ import annotations

from typing import Any, ClassVar

from tunesmith._models import Lengths
from tunesmith._resource import Nested, Resource


class RowFinding(Resource):
    """What is wrong with a row for this model, at `pointer` of its line.

    A `warning` does not keep it from being trained on.
    """

    param: str | None
    line: int | None
    pointer: str | None
    code: str | None
    message: str | None
    fix: str | None
    warning: bool | None

    _shown = ("line", "code", "message")


class TokenCounts(Resource):
    """Tokens of a file in one pass over it; `row_lengths` has percentiles, before anything is cut."""

    rows: int | None
    tokens: int | None
    trainable_tokens: int | None
    cut_tokens: int | None
    cut_trainable_tokens: int | None
    rows_cut: int | None
    longest_row: int | None
    row_lengths: Lengths | None

    _nested: ClassVar[Nested] = {"row_lengths": Lengths}
    _shown = ("rows", "tokens", "trainable_tokens")


class StepCounts(Resource):
    """Optimizer steps."""

    per_epoch: int | None
    total: int | None

    _shown = ("per_epoch", "total")


class MemoryParts(Resource):
    """Estimated memory on the device, by part."""

    weights: int | None
    adapter: int | None
    optimizer: int | None
    activations: int | None
    logits: int | None
    runtime: int | None
    total: int | None

    _shown = ("total",)


class WorkerFit(Resource):
    """A place for one tuning on a living worker, and whether this one fits there."""

    worker: str | None
    slot: int | None
    device: str | None
    memory: int | None
    free: bool | None
    fits: bool | None

    _shown = ("worker", "device", "fits")


class Suggestion(Resource):
    """The smallest change that makes a tuning fit, and the memory that it needs then."""

    hyperparameters: dict[str, Any]
    memory: int | None

    _shown = ("hyperparameters",)


class TimeEstimate(Resource):
    """How long training takes on `device`; without an observed speed both are None, and `reason` says why."""

    seconds: int | None
    device: str | None
    tokens_per_second: float | None
    reason: str | None

    _shown = ("seconds",)


class TuningEstimate(Resource):
    """What a tuning would need; counts are extrapolated when not every row could be measured in time.

    `unseen` says what was not looked at, `has_more` that there are findings behind those of this page.
    """

    object: str
    model: str
    method: str | None
    hyperparameters: dict[str, Any]
    complete: bool | None
    unseen: list[str] | None
    rows_measured: int | None
    training: TokenCounts | None
    validation: TokenCounts | None
    total_tokens: int | None
    total_trainable_tokens: int | None
    steps: StepCounts | None
    memory: MemoryParts | None
    fits: bool | None
    workers: list[WorkerFit] | None
    suggestion: Suggestion | None
    time: TimeEstimate | None
    findings: list[RowFinding] | None
    finding_counts: dict[str, int] | None
    has_more: bool | None

    _nested: ClassVar[Nested] = {
        "training": TokenCounts,
        "validation": TokenCounts,
        "steps": StepCounts,
        "memory": MemoryParts,
        "workers": WorkerFit,
        "suggestion": Suggestion,
        "time": TimeEstimate,
        "findings": RowFinding,
    }
    _shown = ("model", "total_tokens", "fits")


class PreviewToken(Resource):
    """A token, and whether it is learned."""

    id: int
    text: str
    trained: bool

    _shown = ("text", "trained")


class CutEnd(Resource):
    """The end of a row that lies behind `max_length`; `text` is its beginning."""

    tokens: int | None
    trainable_tokens: int | None
    text: str | None

    _shown = ("tokens",)


class PreviewRow(Resource):
    """A row as the model reads it; `fault` says why it cannot be read.

    Of a pair, `tokens` and `cut` are the better answer's, `rejected` and `rejected_cut` the worse one's.
    """

    line: int | None
    tokens: list[PreviewToken]
    rejected: list[PreviewToken] | None
    cut: CutEnd | None
    rejected_cut: CutEnd | None
    fault: str | None
    findings: list[RowFinding] | None

    _nested: ClassVar[Nested] = {
        "tokens": PreviewToken,
        "rejected": PreviewToken,
        "cut": CutEnd,
        "rejected_cut": CutEnd,
        "findings": RowFinding,
    }
    _shown = ("line",)


class TuningPreview(Resource):
    """What a tuning would be trained on; created with its `preview_hash`, it trains exactly this or fails."""

    object: str
    model: str
    method: str | None
    hyperparameters: dict[str, Any]
    preview_hash: str | None
    reason: str | None
    complete: bool | None
    unseen: list[str] | None
    rows_measured: int | None
    rows: list[PreviewRow]
    findings: list[RowFinding] | None
    finding_counts: dict[str, int] | None
    has_more: bool | None

    _nested: ClassVar[Nested] = {"rows": PreviewRow, "findings": RowFinding}
    _shown = ("model", "preview_hash")
