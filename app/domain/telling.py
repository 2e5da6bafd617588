"""How a tuning's events are told to those who watch it: by REST, as a stream and by webhooks alike."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from app.domain.tunings import (
    GIVEN_BACK,
    TUNINGS,
    AttemptLost,
    Cancelled,
    CheckpointSaved,
    Created,
    Dispatched,
    EpochCompleted,
    Failed,
    Failure,
    MemoryReduced,
    Paused,
    PauseRequested,
    Resumed,
    Started,
    Succeeded,
    Updated,
)

OF_CREATED = ("hyperparameters", "method", "suffix", "metadata", "seed", "priority")
OF_CHECKPOINT = ("step", "epoch", "batch", "bytes", "sha256")


class TuningError(Struct, frozen=True):
    """Why a tuning failed."""

    type: Annotated[
        Literal["invalid_request_error", "server_error"],
        Meta(description="Whose fault it was: the request's or the service's."),
    ]
    code: Annotated[str, Meta(description="Stable; for programs. The errors reference explains each.")]
    message: Annotated[str, Meta(description="What happened and what to do.")]
    param: Annotated[str | None, Meta(description="Which field of the request it is about; null when none.")]
    retryable: Annotated[bool, Meta(description="Whether the same tuning may succeed if created again.")]


Told = tuple[Literal["info", "warn", "error"], str, dict[str, Any]]


class TuningEvent(Struct, frozen=True, kw_only=True):
    """Something that happened to a tuning; its id is the same on Kafka, SSE and webhooks."""

    id: Annotated[str, Meta(description="`<tuning id>:<version>`.")]
    object: Literal["tuning.event"] = "tuning.event"
    type: Annotated[str, Meta(description="`created`, `started`, `epoch_completed`, …")]
    version: Annotated[int, Meta(description="From 1, without a gap.")]
    attempt: Annotated[
        int | None, Meta(description="Number of the attempt that it is about; null when none.")
    ]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    message: Annotated[str, Meta(description="What happened, as a sentence.")]
    level: Annotated[
        Literal["info", "warn", "error"],
        Meta(description="`error` when the tuning failed, `warn` when an attempt was lost."),
    ]
    data: Annotated[dict[str, Any], Meta(description="What belongs to this type of event.")]


def event_view(id: str, version: int, at: datetime, event: Any) -> TuningEvent:
    """The event object."""
    level, message, data = _told(event)
    attempt = getattr(event, "attempt", None)
    return TuningEvent(
        id=f"{id}:{version}",
        type=event_name(TUNINGS.wire_type(event)),
        version=version,
        attempt=getattr(attempt, "number", attempt),
        created_at=int(at.timestamp()),
        message=message,
        level=level,
        data=data,
    )


def event_name(wire_type: str) -> str:
    """An event's type in a word: `epoch_completed` of `tunesmith.tuning.epoch_completed.v1`."""
    return wire_type.split(".")[2]


def failure_view(failure: Failure) -> TuningError:
    """Why a tuning failed."""
    return TuningError(
        type="invalid_request_error" if failure.blame == "user" else "server_error",
        code=failure.code,
        message=failure.message,
        param=failure.param,
        retryable=failure.retryable,
    )


def _told(event: Any) -> Told:
    """Level, sentence and data of an event."""
    match event:
        case Created():
            data = {name: getattr(event, name) for name in OF_CREATED} | {
                "model": event.model.id,
                "training_file": event.training_file.id,
                "validation_file": event.validation_file.id if event.validation_file else None,
                "warm_start": event.warm_start.model if event.warm_start else None,
                "preview_hash": event.labels_hash,
                "rerun_of": event.rerun_of,
                "export": event.export,
            }
            return "info", "the tuning was created", data
        case Dispatched(attempt=attempt):
            return (
                "info",
                f"attempt {attempt.number} was given to worker {attempt.worker}",
                {"worker": attempt.worker, "slot": attempt.slot},
            )
        case Started():
            return "info", "training has started", {}
        case EpochCompleted(result=result):
            evaluated = "" if result.eval_loss is None else f", evaluation loss {result.eval_loss:.4f}"
            told = f"epoch {result.epoch} is complete: training loss {result.train_loss:.4f}{evaluated}"
            return "info", told, asdict(result)
        case CheckpointSaved(checkpoint=checkpoint):
            data = {name: getattr(checkpoint, name) for name in OF_CHECKPOINT}
            return "info", f"a checkpoint was saved after step {checkpoint.step}", data
        case MemoryReduced(reduction=reduction):
            told = f"out of memory: {reduction.rows_at_a_time} rows at a time from now on"
            kept = ", activations computed again" if reduction.gradient_checkpointing else ""
            return "warn", f"{told}{kept}", asdict(reduction)
        case AttemptLost(attempt=number, reason=reason) if reason in GIVEN_BACK:
            return (
                "info",
                f"attempt {number} was given back ({reason}), and goes on later",
                {"reason": reason},
            )
        case AttemptLost(attempt=number, reason=reason):
            return "warn", f"attempt {number} was lost ({reason})", {"reason": reason}
        case PauseRequested():
            return "info", "a pause was asked for", {}
        case Paused():
            return "info", "the tuning is paused; its devices are free", {}
        case Resumed():
            return "info", "the tuning goes on", {}
        case Succeeded():
            data = {
                "fine_tuned_model": event.fine_tuned_model,
                "train_loss": event.train_loss,
                "eval_loss": event.eval_loss,
                "trained_tokens": event.trained_tokens,
                "result_files": [file.id for file in event.result_files],
                "memory_peak": event.memory_peak,
            }
            return "info", f"the adapter is ready: {event.fine_tuned_model}", data
        case Failed(failure=failure):
            return "error", failure.message, {"error": failure_view(failure)}
        case Cancelled():
            return "info", "the tuning was cancelled", {}
        case Updated():
            changed = {name: value for name, value in asdict(event).items() if value is not None}
            return "info", f"{' and '.join(changed)} changed", changed
    raise TypeError(f"not an event of tunings: {event!r}")
