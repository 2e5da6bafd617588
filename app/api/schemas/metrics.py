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

    attempt: int
    step: int
    epoch: Annotated[float, Meta(description="Passes over the training rows so far.")]
    loss: Annotated[float, Meta(description="Nats per trained token.")]
    learning_rate: float
    grad_norm: float | None
    tokens: Annotated[int, Meta(description="Tokens so far.")]
    tokens_per_second: float
    seconds_left: float
    total_steps: int
    total_epochs: int
    memory_peak: Annotated[int, Meta(description="Bytes.")]
    eval_loss: float | None = None
    created_at: Annotated[int, Meta(description="Unix seconds.")]


class LossCurve(Struct, frozen=True, kw_only=True):
    """Steps in order, and the results of every complete epoch."""

    object: Literal["list"] = "list"
    data: list[StepMetrics]
    has_more: Annotated[bool, Meta(description="Whether steps follow: ask with `after_step=<last step>`.")]
    epochs: list[EpochResult]


def step_view(metric: str, at: datetime) -> StepMetrics:
    """A step as the read model keeps it, and when it was told."""
    return msgspec.convert(msgspec.json.decode(metric) | {"created_at": seconds(at)}, StepMetrics)
