"""How a tuning's checkpoints look from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.api.schemas.pages import seconds
from app.domain.tunings import CheckpointSaved


class TuningCheckpoint(Struct, frozen=True, kw_only=True):
    """A complete, verified checkpoint, from which the tuning goes on after a pause or a lost attempt."""

    id: Annotated[str, Meta(description="The id of the event that told of it.")]
    object: Literal["tuning.checkpoint"] = "tuning.checkpoint"
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    attempt: Annotated[int, Meta(description="Number of the attempt that saved it.")]
    step: Annotated[int, Meta(description="Optimizer steps that were taken.")]
    epoch: Annotated[int, Meta(description="Complete epochs.")]
    bytes: Annotated[int, Meta(description="Size of all its files.")]
    sha256: Annotated[str, Meta(description="Of its manifest.")]


def checkpoint_view(id: str, at: datetime, event: CheckpointSaved) -> TuningCheckpoint:
    """The checkpoint object, from the event that told of it."""
    saved = event.checkpoint
    return TuningCheckpoint(
        id=id,
        created_at=seconds(at),
        attempt=event.attempt,
        step=saved.step,
        epoch=saved.epoch,
        bytes=saved.bytes,
        sha256=saved.sha256,
    )
