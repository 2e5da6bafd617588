"""How the losses of single training rows look from outside."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct


class ExampleLoss(Struct, frozen=True, kw_only=True):
    """A row of the training file."""

    line: Annotated[int, Meta(description="From 1.")]
    tokens: Annotated[int, Meta(description="All that are read, once the row is cut.")]
    trained_tokens: Annotated[int, Meta(description="Those that are learned.")]
    loss_before: Annotated[
        float | None,
        Meta(
            description="Of the model that training began with, in nats per trained token; dpo: of the pair."
        ),
    ]
    loss_after: Annotated[float | None, Meta(description="Likewise, of the tuned model.")]


class ExampleLosses(Struct, frozen=True, kw_only=True):
    """Rows, the worst after training first."""

    object: Literal["list"] = "list"
    data: Annotated[list[ExampleLoss], Meta(description="The rows.")]
    has_more: Annotated[bool, Meta(description="Whether rows follow: ask with `after_line=<last line>`.")]
    looked_at: Annotated[int, Meta(description="How many rows were looked at.")]
    rows: Annotated[int, Meta(description="How many the training file has.")]


def read_examples(content: bytes) -> list[ExampleLoss]:
    """The rows as the trainer left them."""
    return [msgspec.json.decode(line, type=ExampleLoss) for line in content.splitlines()]
