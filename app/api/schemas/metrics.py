"""How a tuning's loss curve looks from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from app.api.schemas.pages import seconds
from app.domain.tunings import EpochResult


class StepMetrics(Struct, frozen=True, kw_only=True):
    """One optimizer step, of the newest attempt that took it."""

    attempt: Annotated[int, Meta(description="Number of the attempt that took it.")]
    step: Annotated[int, Meta(description="Its number, from 1.")]
    epoch: Annotated[float, Meta(description="Passes over the training rows so far.")]
    loss: Annotated[float, Meta(description="Nats per trained token.")]
    learning_rate: Annotated[float, Meta(description="At this step.")]
    grad_norm: Annotated[
        float | None,
        Meta(description="Norm of the gradient before it is clipped; null where it is not known."),
    ]
    tokens: Annotated[int, Meta(description="Tokens so far.")]
    tokens_per_second: Annotated[float, Meta(description="Speed since training began.")]
    seconds_left: Annotated[float, Meta(description="Until the last step, at this speed.")]
    total_steps: Annotated[int, Meta(description="Optimizer steps of the whole training.")]
    total_epochs: Annotated[int, Meta(description="Epochs to train.")]
    memory_peak: Annotated[int, Meta(description="Bytes.")]
    eval_loss: Annotated[
        float | None,
        Meta(
            description="On the validation file, in nats per token, where it was evaluated after this step."
        ),
    ] = None
    created_at: Annotated[int, Meta(description="Unix seconds.")]


class LossCurve(Struct, frozen=True, kw_only=True):
    """Steps in order, and the results of every complete epoch."""

    object: Literal["list"] = "list"
    data: Annotated[list[StepMetrics], Meta(description="The steps, in order.")]
    has_more: Annotated[bool, Meta(description="Whether steps follow: ask with `after_step=<last step>`.")]
    epochs: Annotated[list[EpochResult], Meta(description="Every complete epoch, in order.")]


def step_view(metric: str, at: datetime) -> StepMetrics:
    """A step as the read model keeps it, and when it was told."""
    return msgspec.convert(msgspec.json.decode(metric) | {"created_at": seconds(at)}, StepMetrics)
