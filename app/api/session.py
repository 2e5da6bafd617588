"""One authenticated request: who asks, by which id it is known, and what it works with."""

from __future__ import annotations

from typing import Any

from litestar import Request
from msgspec import Struct

from app.api.auth import Caller, caller_of
from app.api.edge import LIMITS
from app.api.limits import limit_headers
from app.api.service import Service


class Session(Struct, frozen=True):
    """An authenticated request."""

    service: Service
    caller: Caller
    request_id: str


async def opened(request: Request[Any, Any, Any], scope: str) -> Session:
    """Authenticate a request for `scope`. Raises `ApiError` 401 or 403."""
    service: Service = request.app.state.service
    caller = await caller_of(service.pool, request.headers.get("authorization"), scope)
    limit = service.settings.creates_per_minute
    state = request.scope["state"]
    state[LIMITS] = limit_headers(limit, caller.window)
    return Session(service, caller, state["request_id"])
