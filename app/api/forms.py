"""The fields of a form beside its file: an unknown one would else do nothing, in silence."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from app.api.errors import MOST_FAULTS, invalid
from app.api.schemas.errors import RequestFault

EXPIRY = "expires_after"  # and `expires_after[anchor]`, as OpenAI's clients send it


def known_fields(names: Iterable[str], form: type[Struct]) -> None:
    """Refuse fields that the form does not know. Raises `ApiError` 400."""
    known = form.__struct_fields__
    faults = [_unknown(name, known) for name in names if name not in known]
    if faults:
        raise invalid(faults[:MOST_FAULTS])


def _unknown(name: str, known: tuple[str, ...]) -> RequestFault:
    if name.partition("[")[0] == EXPIRY:
        message = f"{EXPIRY} is not offered here: a file stays until it is deleted; leave it out"
        return RequestFault(name, message, "unsupported")
    return RequestFault(name, f"{name!r} is not known; known are {', '.join(known)}", "unknown_field")
