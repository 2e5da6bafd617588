"""Events of older schemas brought to the form of today's before they are decoded; the log stays as it is.

An upcaster takes the JSON object of one schema, and the aggregate's id, to the next schema; several make a
chain. The hash of an event is over what was written, and so is not touched by this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

Upcast = Callable[[dict[str, Any], str], dict[str, Any]]


class Upcaster(Struct, frozen=True):
    """What an older type became, and how."""

    becomes: str
    upcast: Upcast


def uploaded_v2(v1: dict[str, Any], subject: str) -> dict[str, Any]:
    """A file's bytes lay under its id, before each upload had a place of its own."""
    return {"key": f"files/{subject}"} | v1


UPCASTERS = {"tunesmith.file.uploaded.v1": Upcaster("tunesmith.file.uploaded.v2", uploaded_v2)}


def upcasted(type: str, body: dict[str, Any], subject: str) -> tuple[str, dict[str, Any]]:
    """Today's type and form of a body that was written as `type`."""
    while (upcaster := UPCASTERS.get(type)) is not None:
        type, body = upcaster.becomes, upcaster.upcast(body, subject)
    return type, body
