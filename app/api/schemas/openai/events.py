"""What happened to a tuning, as OpenAI's clients read it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.api.schemas.pages import seconds
from app.domain.telling import event_view
from app.domain.tunings import EpochCompleted, EpochResult, Tuning, tuned_model_id


class FineTuningEvent(Struct, frozen=True, kw_only=True):
    """Something that happened to a tuning; its id is the same as in `/v1/tunings.events/{id}`."""

    id: Annotated[str, Meta(description="`<tuning id>:<version>`.")]
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    level: Annotated[
        Literal["info", "warn", "error"],
        Meta(description="`error` when the tuning failed, `warn` when an attempt was lost."),
    ]
    message: Annotated[str, Meta(description="What happened, as a sentence.")]
    type: Annotated[
        Literal["message", "metrics"], Meta(description="`metrics` at the end of an epoch, with its losses.")
    ]
    data: Annotated[dict[str, Any], Meta(description="What belongs to it.")]


class CheckpointMetrics(Struct, frozen=True, kw_only=True):
    """Mean losses of an epoch, in nats per token."""

    step: Annotated[int, Meta(description="Optimizer steps that were taken.")]
    train_loss: Annotated[float, Meta(description="On the training rows.")]
    valid_loss: Annotated[float | None, Meta(description="Null without a validation file.")]
    full_valid_loss: Annotated[float | None, Meta(description="The same: evaluation reads the whole file.")]


class FineTuningCheckpoint(Struct, frozen=True, kw_only=True):
    """The end of an epoch."""

    id: Annotated[str, Meta(description="The id of the event that told of it.")]
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    fine_tuning_job_id: Annotated[str, Meta(description="Id of the tuning.")]
    fine_tuned_model_checkpoint: Annotated[
        str, Meta(description="A name for it; only the tuned model itself is listed and kept.")
    ]
    step_number: Annotated[int, Meta(description="Optimizer steps that were taken.")]
    metrics: Annotated[CheckpointMetrics, Meta(description="Losses of the epoch.")]


def fine_tuning_event(id: str, version: int, at: datetime, event: Any) -> FineTuningEvent:
    """The event object."""
    shown = event_view(id, version, at, event)
    epoch = isinstance(event, EpochCompleted)
    return FineTuningEvent(
        id=shown.id,
        created_at=shown.created_at,
        level=shown.level,
        message=shown.message,
        type="metrics" if epoch else "message",
        data={"epoch": event.result.epoch} | _losses(event.result) if epoch else shown.data,
    )


def checkpoint_of(tuning: Tuning, id: str, at: datetime, event: EpochCompleted) -> FineTuningCheckpoint:
    """The checkpoint object of an epoch, from the event that told of it."""
    step = event.result.step
    return FineTuningCheckpoint(
        id=id,
        created_at=seconds(at),
        fine_tuning_job_id=tuning.id,
        fine_tuned_model_checkpoint=f"{tuned_model_id(tuning)}:ckpt-step-{step}",
        step_number=step,
        metrics=CheckpointMetrics(**_losses(event.result)),
    )


def _losses(result: EpochResult) -> dict[str, Any]:
    evaluated = dict.fromkeys(("valid_loss", "full_valid_loss"), result.eval_loss)
    return {"step": result.step, "train_loss": result.train_loss} | evaluated
