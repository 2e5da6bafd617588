"""One authenticated request: who asks, by which id it is known, and what it works with."""

from __future__ import annotations

import time
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers.base import BaseRouteHandler
from msgspec import Struct

from app.api.auth import Caller
from app.api.edge import CALLER, LIMITS
from app.api.errors import ApiError
from app.api.limits import limits_of, standing
from app.api.queries import known_query
from app.api.requests import plain_query
from app.api.service import Service
from app.domain.accounts import Limits


class Session(Struct, frozen=True):
    """An authenticated request; under an Idempotency-Key `once` names it, the same for its repetitions."""

    service: Service
    caller: Caller
    request_id: str
    admitted_at: float
    once: str | None = None

    @property
    def limits(self) -> Limits:
        """What its account may have: none of them is None."""
        return limits_of(self.caller.limits, self.service.settings)


Authenticated = NamedDependency[Session]
"""The session of a request, for a route's parameter `session`."""


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of every route: before anything of a request is read, its key must have the route's `scope`.

    A route whose scope is None asks for no key. Raises `ApiError` 400, 401, 403 or 415.
    """
    if "scope" not in handler.opt:  # the framework's own answer to OPTIONS
        raise MethodNotAllowedException
    scope = handler.opt["scope"]
    if scope is None:
        return
    service: Service = connection.app.state.service
    state = connection.scope["state"]
    known = await service.keys.find(connection.headers.get("authorization"))
    state[CALLER] = known.caller
    session = Session(service, known.caller, state["request_id"], time.monotonic())
    state[LIMITS] = await standing(service.pool, session.caller.account_id, session.limits)
    known.admit(scope)
    state["session"] = session
    encoding = connection.headers.get("content-encoding", "identity").strip().lower()
    if "body" in handler.opt and encoding not in ("", "identity"):
        raise ApiError(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")
    if connection.scope["query_string"]:
        pairs = list(connection.query_params.multi_items())
        known_query((name for name, _ in pairs), handler)
        plain_query(pairs, handler)


def session_of(request: Request[Any, Any, Any]) -> Session:
    """What `authenticate` found, for a route that names it."""
    session: Session = request.scope["state"]["session"]
    return session
