"""One authenticated request: who asks, by which id it is known, and what it works with."""

from __future__ import annotations

from typing import Any

from litestar import Request
from msgspec import Struct

from app.api.auth import Caller
from app.api.edge import LIMITS
from app.api.limits import standing
from app.api.service import Service


class Session(Struct, frozen=True):
    """An authenticated request."""

    service: Service
    caller: Caller
    request_id: str


async def opened(request: Request[Any, Any, Any], scope: str) -> Session:
    """Authenticate a request for `scope`. Raises `ApiError` 401 or 403."""
    service: Service = request.app.state.service
    caller = await service.keys.caller_of(request.headers.get("authorization"), scope)
    state = request.scope["state"]
    state[LIMITS] = await standing(service.pool, caller.account_id, service.settings.creates_per_minute)
    return Session(service, caller, state["request_id"])
