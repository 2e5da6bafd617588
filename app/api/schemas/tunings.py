"""How tunings look from outside, and what a create may say."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.api.schemas.hyperparameters import Given
from app.api.schemas.pages import seconds
from app.domain.hyperparameters import Hyperparameters
from app.domain.telling import TuningError, failure_view
from app.domain.tunings import Export, Method, Status, Tuning
from app.log.metrics import Step

Text = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
MetadataValue = Annotated[str, Meta(max_length=512, pattern=r"^[^\x00]*$")]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)]
Suffix = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]
Seed = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PreviewHash = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-f]{64}$")]
Priority = Annotated[int, Meta(ge=-100, le=100, description="Higher starts first.")]


class TuningRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tuning to create."""

    model: Annotated[
        Text,
        Meta(description="Id of a model, from /v1/models: a base model, or a tuned one to go on from."),
    ]
    training_file: Annotated[Text, Meta(description="Id of an uploaded file.")]
    validation_file: Annotated[Text | None, Meta(description="Id of another, for the loss per epoch.")] = None
    hyperparameters: Annotated[Given | None, Meta(description="What to set; the rest is chosen.")] = None
    method: Annotated[
        Method, Meta(description="How to train: on answers, or on pairs of a better and a worse one (dpo).")
    ] = "supervised"
    suffix: Annotated[Suffix | None, Meta(description="Part of the tuned model's name.")] = None
    metadata: Annotated[Metadata | None, Meta(description="Up to 16 pairs of your own.")] = None
    seed: Annotated[Seed | None, Meta(description="For a run that can be repeated; else chosen.")] = None
    priority: Priority = 0
    preview_hash: Annotated[
        PreviewHash | None,
        Meta(description="Of tunings.preview: the tuning fails if it would train anything else."),
    ] = None
    export: Annotated[
        Export,
        Meta(
            description="What is made: the adapter, or beside it a `merged` model in bf16 that needs no PEFT."
        ),
    ] = "adapter"
    example_losses: Annotated[
        Annotated[int, Meta(ge=0, le=100_000)] | None,
        Meta(
            description="Of how many training rows at most the loss before and after is told, for "
            "tunings.examples; null: of as many as take little time beside the training. It takes a minute "
            "at most."
        ),
    ] = None


class TuningUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a tuning that has not ended; what is left out or null stays as it is."""

    priority: Annotated[Priority | None, Meta(description="Higher starts first.")] = None
    metadata: Annotated[Metadata | None, Meta(description="Instead of all pairs so far.")] = None


class MetadataFilter(Struct, frozen=True):
    """Query parameters `metadata[k]=v`: only tunings with all of these pairs."""

    metadata: dict[str, str] = {}


class QueuePosition(Struct, frozen=True):
    """Where a waiting tuning stands."""

    position: Annotated[int | None, Meta(description="1 is next.")]
    estimated_start: Annotated[
        int | None, Meta(description="Unix seconds; when it will likely start. Null: nothing tells yet.")
    ]


class TuningMetrics(Struct, frozen=True, kw_only=True):
    """How far a tuning has come. Losses are in nats per token."""

    train_loss: Annotated[
        float | None,
        Meta(description="Of the last step while it trains, then of the last epoch; null before the first."),
    ]
    eval_loss: Annotated[float | None, Meta(description="Null without a validation file.")]
    current_epoch: Annotated[int, Meta(description="Complete epochs.")]
    total_epochs: Annotated[int, Meta(description="Epochs to train.")]
    progress: Annotated[float, Meta(description="From 0 to 1.")]
    step: Annotated[
        int | None, Meta(description="Optimizer steps that were taken; null before the first report.")
    ]
    total_steps: Annotated[
        int | None, Meta(description="Optimizer steps of the whole training; null before the first report.")
    ]
    tokens_per_second: Annotated[
        float | None, Meta(description="Speed at the last step; null when it does not train.")
    ]
    seconds_left: Annotated[
        float | None, Meta(description="Until the last step, at this speed; null when it does not train.")
    ]
    trained_tokens: Annotated[
        int | None, Meta(description="Tokens that were learned; null until it succeeded.")
    ]


class ReducedMemory(Struct, frozen=True, kw_only=True):
    """How a tuning went on after it was out of memory; what is learned is the same."""

    rows_at_a_time: Annotated[int, Meta(description="Rows that go through the model together.")]
    gradient_accumulation: Annotated[int, Meta(description="Parts that a step's rows are taken in.")]
    gradient_checkpointing: Annotated[
        bool, Meta(description="Whether activations are computed again, to save more.")
    ]


class TuningMemory(Struct, frozen=True, kw_only=True):
    """Memory of a tuning, in bytes; its `results/manifest.json` has the estimate by part."""

    estimated: Annotated[int, Meta(description="What it was estimated to need; 0 when nobody could tell.")]
    peak: Annotated[int | None, Meta(description="The most it held at once; null until it succeeded.")]
    reduced: Annotated[ReducedMemory | None, Meta(description="Null unless it was out of memory.")]


class RerunOutcome(Struct, frozen=True, kw_only=True):
    """How a tuning that repeated another came out beside it."""

    of: Annotated[str, Meta(description="Id of the tuning that it repeated.")]
    same_adapter: Annotated[
        bool | None, Meta(description="Whether the weights are the same to the bit; null when it made none.")
    ]
    largest_loss_difference: Annotated[
        float | None,
        Meta(description="Over all steps, in nats per token; null when no step can be compared."),
    ]


class TuningJob(Struct, frozen=True, kw_only=True):
    """A tuning."""

    id: Annotated[str, Meta(description="Its id, `job-…`.")]
    object: Literal["tuning.job"] = "tuning.job"
    model: Annotated[str, Meta(description="The base model.")]
    status: Annotated[
        Status, Meta(description="`paused` is not final; `succeeded`, `failed` and `cancelled` are.")
    ]
    phase: Annotated[
        str | None,
        Meta(
            description="What happens inside the status: queued, assigned, loading, training, evaluating, "
            "saving, verifying or recovering; null once the tuning has ended or rests."
        ),
    ]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    started_at: Annotated[int | None, Meta(description="Unix seconds.")]
    finished_at: Annotated[int | None, Meta(description="Unix seconds.")]
    training_file: Annotated[str, Meta(description="Id of the file that it learns from.")]
    validation_file: Annotated[
        str | None, Meta(description="Id of the file for the evaluation loss; null without one.")
    ]
    hyperparameters: Annotated[Hyperparameters, Meta(description='As resolved: no `"auto"` is left.')]
    method: Annotated[str, Meta(description="`supervised`, or `dpo`.")]
    suffix: Annotated[str | None, Meta(description="Part of the tuned model's name; null without one.")]
    metadata: Annotated[dict[str, str], Meta(description="Your own pairs.")]
    seed: Annotated[int, Meta(description="What all randomness comes from, as given or chosen.")]
    priority: Annotated[int, Meta(description="Higher starts first.")]
    queue: Annotated[QueuePosition | None, Meta(description="While it waits.")]
    attempt: Annotated[int | None, Meta(description="Number of the newest attempt.")]
    version: Annotated[int, Meta(description="Number of the newest event.")]
    metrics: Annotated[TuningMetrics | None, Meta(description="Null before the first report.")]
    result_files: Annotated[list[str], Meta(description="Ids of the files that it made.")]
    fine_tuned_model: Annotated[str | None, Meta(description="Once it succeeded.")]
    error: Annotated[TuningError | None, Meta(description="Once it failed.")]
    warm_start: Annotated[str | None, Meta(description="The tuned model that it went on from.")] = None
    preview_hash: Annotated[str | None, Meta(description="Of the preview that it is held to.")] = None
    rerun_of: Annotated[str | None, Meta(description="Id of the tuning that it repeats.")] = None
    phase_detail: Annotated[
        str | None, Meta(description="How far the phase is, in words, as of a model that is fetched.")
    ] = None
    export: Annotated[Export, Meta(description="What it makes: the adapter, or a merged model too.")] = (
        "adapter"
    )
    memory: Annotated[TuningMemory | None, Meta(description="What it takes.")] = None
    rerun_outcome: Annotated[
        RerunOutcome | None,
        Meta(description="In tunings.get, of a rerun that succeeded: whether it came out the same."),
    ] = None


class Progress(Struct, frozen=True):
    """What is told of a tuning beside its events; `attempt` is the one whose `phase` it is."""

    phase: str | None = None
    attempt: int | None = None
    last_step: Step | None = None
    position: int | None = None
    estimated_start: datetime | None = None
    detail: str = ""


NOTHING_TOLD = Progress()


def tuning_view(
    tuning: Tuning, version: int, told: Progress = NOTHING_TOLD, rerun: RerunOutcome | None = None
) -> TuningJob:
    """The tuning object."""
    waits = tuning.status == "pending" and tuning.attempt is None and told.position is not None
    return TuningJob(
        id=tuning.id,
        model=tuning.model.id,
        status=tuning.status,
        phase=(phase := shown_phase(tuning, told.phase, told.attempt)),
        phase_detail=told.detail or None if phase == told.phase else None,
        created_at=seconds(tuning.created_at),
        started_at=seconds(tuning.started_at),
        finished_at=seconds(tuning.finished_at),
        training_file=tuning.training_file.id,
        validation_file=tuning.validation_file.id if tuning.validation_file else None,
        hyperparameters=tuning.hyperparameters,
        method=tuning.method,
        suffix=tuning.suffix,
        metadata=tuning.metadata,
        seed=tuning.seed,
        priority=tuning.priority,
        queue=QueuePosition(told.position, seconds(told.estimated_start)) if waits else None,
        attempt=tuning.attempts or None,
        version=version,
        metrics=_metrics(tuning, told.last_step),
        result_files=[file.id for file in tuning.result_files],
        fine_tuned_model=tuning.fine_tuned_model,
        error=failure_view(tuning.failure) if tuning.failure else None,
        warm_start=tuning.warm_start.model if tuning.warm_start else None,
        preview_hash=tuning.labels_hash,
        rerun_of=tuning.rerun_of,
        export=tuning.export,
        memory=_memory(tuning),
        rerun_outcome=rerun,
    )


def shown_phase(tuning: Tuning, phase: str | None, phase_attempt: int | None) -> str | None:
    """What happens inside the status; None once it has ended, or rests."""
    if tuning.ended or tuning.status == "paused":
        return None
    if tuning.attempt is None:
        return "recovering" if tuning.status == "running" else "queued"
    if phase is not None and phase_attempt == tuning.attempt.number:
        return phase
    return "loading" if tuning.status == "running" else "assigned"


def _memory(tuning: Tuning) -> TuningMemory:
    reduction, reduced = tuning.reduction, None
    if reduction is not None:
        reduced = ReducedMemory(
            rows_at_a_time=reduction.rows_at_a_time,
            gradient_accumulation=reduction.gradient_accumulation,
            gradient_checkpointing=reduction.gradient_checkpointing,
        )
    return TuningMemory(estimated=tuning.memory, peak=tuning.memory_peak or None, reduced=reduced)


def _metrics(tuning: Tuning, last: Step | None) -> TuningMetrics | None:
    if last is None and not tuning.epochs:
        return None
    total = tuning.hyperparameters.epochs
    live = last is not None and not tuning.ended
    if tuning.status == "succeeded":
        progress = 1.0
    elif last is not None:
        progress = last.step / last.total_steps
    else:
        progress = len(tuning.epochs) / total
    return TuningMetrics(
        train_loss=last.loss if live and last else tuning.train_loss,
        eval_loss=tuning.eval_loss,
        current_epoch=len(tuning.epochs),
        total_epochs=total,
        progress=round(progress, 4),
        step=last.step if last else None,
        total_steps=last.total_steps if last else None,
        tokens_per_second=last.tokens_per_second if live and last else None,
        seconds_left=last.seconds_left if live and last else None,
        trained_tokens=tuning.trained_tokens,
    )
