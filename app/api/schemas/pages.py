"""What every list, deletion and refusal looks like."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import Meta, Struct

Row = TypeVar("Row")


class Page(Struct, Generic[Row], frozen=True, kw_only=True):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: Annotated[list[Row], Meta(description="The rows.")]
    has_more: Annotated[bool, Meta(description="Whether another page follows: ask with `after=<last_id>`.")]
    first_id: Annotated[str | None, Meta(description="Id of the first row; null on an empty page.")]
    last_id: Annotated[str | None, Meta(description="Id of the last row; null on an empty page.")]


class Deleted(Struct, frozen=True):
    """What was deleted."""

    id: Annotated[str, Meta(description="Its id.")]
    object: Annotated[str, Meta(description="What it was: `file` or `model`.")]
    deleted: Annotated[Literal[True], Meta(description="Always true.")] = True


def page(rows: Sequence[Any], limit: int) -> Page[Any]:
    """A page, of one row more than `limit` when there is a next one."""
    shown = list(rows[:limit])
    return Page(
        data=shown,
        has_more=len(rows) > limit,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
    )


def seconds(at: datetime | None) -> int | None:
    """Unix seconds, as the api tells times."""
    return int(at.timestamp()) if at else None
