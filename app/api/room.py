"""Whether there is room for bytes, asked before any of them is taken."""

from __future__ import annotations

from typing import Any

from litestar import Request

from app.api.errors import ApiError
from app.api.limits import take_bytes
from app.api.session import Session

# What a form has around its file at most.
LARGEST_FORM = 2 * 1024**2


async def admit_bytes(session: Session, file_id: str, size: int, param: str) -> None:
    """Let an account store a file of `size` bytes, or refuse. Raises `ApiError` 413, 429.

    Whoever is refused afterwards gives the room back with `release`.
    """
    limit = session.service.settings.upload_limit_bytes
    if size > limit:
        raise ApiError(413, "file_too_large", f"a file may have at most {limit} bytes", param)
    await take_bytes(session.service.pool, session.caller.account_id, file_id, size, session.limits)


def announced(request: Request[Any, Any, Any]) -> int:
    """At least how many bytes of a file a form brings, by its length; 0 when that is not told."""
    length = request.headers.get("content-length") or ""
    return max(0, int(length) - LARGEST_FORM) if length.isdecimal() and len(length) < 20 else 0
