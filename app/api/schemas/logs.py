"""How what an attempt printed looks from outside."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class AttemptLog(Struct, frozen=True, kw_only=True):
    """What the training process of one attempt printed, up to its last mebibyte, tracebacks included."""

    object: Literal["tuning.log"] = "tuning.log"
    attempt: Annotated[int, Meta(description="Whose log it is.")]
    attempts: Annotated[list[int], Meta(description="All attempts of which there is a log.")]
    text: Annotated[str, Meta(description="What was printed.")]
    truncated: Annotated[bool, Meta(description="Whether what was printed earlier is left out.")]
