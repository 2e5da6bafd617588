"""One authenticated request: who asks, by which id it is known, and what it works with."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
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


Authenticated = NamedDependency[Session]
"""The session of a request, for a route's parameter `session`."""


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of every route: before anything of a request is read, its key must have the route's `scope`.

    A route whose scope is None asks for no key. Raises `ApiError` 401 or 403.
    """
    scope = handler.opt["scope"]
    if scope is None:
        return
    service: Service = connection.app.state.service
    caller = await service.keys.caller_of(connection.headers.get("authorization"), scope)
    state = connection.scope["state"]
    state[LIMITS] = await standing(service.pool, caller.account_id, service.settings.creates_per_minute)
    state["session"] = Session(service, caller, state["request_id"])


def session_of(request: Request[Any, Any, Any]) -> Session:
    """What `authenticate` found, for a route that names it."""
    session: Session = request.scope["state"]["session"]
    return session
