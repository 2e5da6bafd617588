"""The objects that the service answers with. Times are Unix seconds."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from tunesmith._resource import Nested, Resource


class JobStatus:
    """The words that a tuning's `status` may have; a newer service may have more."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class TuningMetrics(Resource):
    """How far a tuning is: losses in nats per token, `progress` from 0 to 1, `seconds_left` an estimate."""

    train_loss: float | None
    eval_loss: float | None
    current_epoch: int | None
    total_epochs: int | None
    progress: float | None
    step: int | None
    total_steps: int | None
    tokens_per_second: float | None
    seconds_left: float | None
    trained_tokens: int | None

    _shown = ("train_loss", "eval_loss", "progress")


class QueuePlace(Resource):
    """Where a waiting tuning stands: `position` from 1, `estimated_start` None when not known."""

    position: int | None
    estimated_start: int | None

    _shown = ("position", "estimated_start")


class ReducedMemory(Resource):
    """How a tuning went on after it was out of memory; what is learned is the same."""

    rows_at_a_time: int | None
    gradient_accumulation: int | None
    gradient_checkpointing: bool | None

    _shown = ("rows_at_a_time", "gradient_checkpointing")


class TuningMemory(Resource):
    """Memory of a tuning in bytes: `estimated` before, `peak` once it succeeded, `reduced` if it ran out."""

    estimated: int | None
    peak: int | None
    reduced: ReducedMemory | None

    _nested: ClassVar[Nested] = {"reduced": ReducedMemory}
    _shown = ("estimated", "peak")


class RerunOutcome(Resource):
    """How a tuning that repeated another came out: whether its weights are the same, how far its losses."""

    of: str
    same_adapter: bool | None
    largest_loss_difference: float | None

    _shown = ("of", "same_adapter", "largest_loss_difference")


class ExampleLoss(Resource):
    """A row of the training file by its line; losses in nats per trained token, dpo: of the pair."""

    line: int
    tokens: int | None
    trained_tokens: int | None
    loss_before: float | None
    loss_after: float | None

    _shown = ("line", "loss_before", "loss_after")


class ExampleLosses(Resource):
    """Rows of a training file, the worst after training first; `looked_at` of all `rows` were looked at."""

    object: str
    data: list[ExampleLoss]
    has_more: bool
    looked_at: int | None
    rows: int | None

    _nested: ClassVar[Nested] = {"data": ExampleLoss}
    _shown = ("looked_at", "rows")


class TuningFailure(Resource):
    """Why a tuning failed: a stable `code`, and a `message` that says what to do."""

    type: str | None
    code: str | None
    message: str | None
    param: str | None
    retryable: bool | None

    _shown = ("code", "message")


class StepMetric(Resource):
    """One optimizer step: `loss` in nats per token, `epoch` a fraction, `tokens` trained so far.

    `memory_peak` is in bytes; the run has `total_steps` in `total_epochs`.

    `eval_loss` is set where the step was evaluated, once that is done.
    """

    step: int
    epoch: float | None
    loss: float | None
    eval_loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    tokens: int | None
    tokens_per_second: float | None
    seconds_left: float | None
    total_steps: int | None
    total_epochs: int | None
    memory_peak: int | None
    attempt: int | None
    created_at: int | None

    _shown = ("step", "loss")


class TuningEvent(Resource):
    """Something that happened to a tuning.

    `type` is `created`, `updated`, `dispatched`, `started`, `epoch_completed`, `checkpoint_saved`,
    `attempt_lost`, `pause_requested`, `paused`, `resumed`, `succeeded`, `failed` or `cancelled`, and a newer
    service may have more; `message` says it as a sentence, `data` holds what belongs to the type. `id` is
    `<job id>:<version>`, the same on the log and in webhooks; versions count from 1 without a gap.
    """

    id: str
    object: str
    type: str
    version: int
    attempt: int | None
    created_at: int | None
    message: str
    level: str
    data: dict[str, Any]

    _shown = ("id", "type")

    @property
    def ends(self) -> bool:
        """Whether the tuning ends with it."""
        return self.get("type") in ENDED


class Checkpoint(Resource):
    """A complete, verified state of a training, to go on from after a pause or a lost attempt."""

    id: str
    object: str
    created_at: int | None
    attempt: int | None
    step: int | None
    epoch: int | None
    bytes: int | None
    sha256: str | None

    _shown = ("id", "step")


class TuningLog(Resource):
    """What the training process of one attempt printed; `attempts` names all of which there is a log.

    `truncated`: whether what was printed earlier is left out.
    """

    object: str
    attempt: int
    attempts: list[int]
    text: str
    truncated: bool

    _shown = ("attempt",)


class File(Resource):
    """A file: `status` is `uploaded` (being checked), `processed` (ready) or `error` (see `files.check`)."""

    id: str
    object: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str
    status_details: str | None
    sha256: str | None
    rows: int | None
    format: str | None
    fault_count: int | None

    _shown = ("id", "filename", "status")


class FileFault(Resource):
    """One thing wrong with a file: the line (from 1), a JSON pointer into its row, and how to fix it."""

    line: int | None
    code: str | None
    pointer: str | None
    message: str | None
    fix: str | None

    _shown = ("line", "code", "message")


class Lengths(Resource):
    """How a count is spread over rows: the least, the mean, percentiles, the most."""

    smallest: int | None
    mean: float | None
    p50: int | None
    p90: int | None
    p99: int | None
    largest: int | None

    _shown = ("smallest", "p50", "largest")


class FileStatistics(Resource):
    """Counts over the rows without fault; `unpacked_bytes` are those of a packed file's text."""

    rows: int | None
    bytes: int | None
    unpacked_bytes: int | None
    characters: int | None
    messages: int | None
    roles: dict[str, int] | None
    duplicate_rows: int | None
    tool_calls: int | None
    rows_with_tools: int | None
    characters_per_row: Lengths | None
    messages_per_row: Lengths | None

    _nested: ClassVar[Nested] = {"characters_per_row": Lengths, "messages_per_row": Lengths}
    _shown = ("rows", "bytes")


class FileCheck(Resource):
    """What the check of a file found: faults and warnings, how many there are of each, and statistics.

    With many of them `has_more` is true: see `files.faults` for all.
    """

    id: str
    object: str
    status: str
    format: str | None
    rows: int | None
    sha256: str | None
    faults: list[FileFault]
    fault_count: int | None
    warnings: list[FileFault] | None
    warning_count: int | None
    has_more: bool | None
    statistics: FileStatistics | None

    _nested: ClassVar[Nested] = {"faults": FileFault, "warnings": FileFault, "statistics": FileStatistics}
    _shown = ("id", "status", "fault_count")


class Deleted(Resource):
    """The answer to a deletion."""

    id: str
    object: str
    deleted: bool

    _shown = ("id", "deleted")


DeletedFile = Deleted


class Model(Resource):
    """A base model that can be tuned, or a model that a tuning made (`base_model` and `tuning` are set)."""

    id: str
    object: str
    created: int | None
    owned_by: str | None
    context_length: int | None
    parameters: int | None
    license: str | None
    revision: str | None
    template: str | None
    memory: dict[str, int] | None
    archived: bool | None
    base_model: str | None
    tuning: str | None

    _shown = ("id",)


class Health(Resource):
    """What the service says of its parts: each `"ok"` or `"error: …"`."""

    api: str
    database: str | None
    kafka: str | None
    storage: str | None
    gpu: str | None
    devices: list[str] | None
    device_details: list[dict[str, Any]] | None

    _shown = ("api", "database", "kafka", "storage", "gpu")

    @property
    def ok(self) -> bool:
        """Whether every part is ok."""
        return all(value == "ok" for value in self.values() if isinstance(value, str))


class Cursor(NamedTuple):
    """Where a page of a list ends."""

    has_more: bool
    next_after: str | None
