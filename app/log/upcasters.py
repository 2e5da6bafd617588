"""Events of older schemas brought to the form of today's before they are decoded; the log stays as it is.

An upcaster takes what one schema held, and the aggregate's id, to the next schema; several make a chain. The
hash of an event is over what was written, and so is not touched by this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from app.domain.files import Uploaded


class UploadedV1(Struct, frozen=True):
    """The bytes lay under the file's id; the last writers of this schema gave each a place of its own."""

    account_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    key: str | None = None
    request_hash: str = ""


class Upcaster(Struct, frozen=True):
    """What an older type held, what it became, and how."""

    held: type
    becomes: str
    upcast: Callable[[Any, str], Any]


def uploaded_v2(v1: UploadedV1, subject: str) -> Uploaded:
    """Give the bytes the place where they lay."""
    return Uploaded(**asdict(v1) | {"key": v1.key or f"files/{subject}"})


UPCASTERS = {
    "tunesmith.file.uploaded.v1": Upcaster(UploadedV1, "tunesmith.file.uploaded.v2", uploaded_v2),
}


def upcasted(type: str, body: Any, subject: str) -> Any:
    """Today's form of a body that was written as `type`."""
    while (upcaster := UPCASTERS.get(type)) is not None:
        type, body = upcaster.becomes, upcaster.upcast(body, subject)
    return body
