"""What every request passes: an id, a log line, a latency figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Histogram

LATENCY = Histogram(
    "tunesmith_http_request_seconds", "Time until a request is answered", ["method", "status"], registry=None
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# What is known of a request while it is answered, in its scope's state.
LIMITS = "rate_limit"
CALLER = "caller"
REFUSED = "refused"  # the code of its refusal
REPLAYED = "replayed"
LOCATION = "location"  # of what it made

logger = structlog.get_logger("api")


def edge(app: ASGIApp, on_answered: Callable[[Scope, int], None]) -> ASGIApp:
    """Wrap the app: `x-request-id` on every answer, the same id in every log line.

    `on_answered` hears of every request, with the status of its answer.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            return await app(scope, receive, send)
        request_id = f"req-{uuid4().hex}"
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        # Anything may come as a method, and every label is a series.
        method = str(scope["method"]) if scope["method"] in METHODS else "other"
        began, status, seconds = time.perf_counter(), 500, None

        async def tagged(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                # A stream goes on for hours, a download as long as its client likes.
                status, seconds = message["status"], time.perf_counter() - began
                headers: Any = list(message.get("headers", []))
                told = dict(headers)
                if b"location" in told:
                    state[LOCATION] = told[b"location"].decode("latin-1")
                limits = {name.encode(): value.encode() for name, value in state.get(LIMITS, {}).items()}
                headers += [(name, value) for name, value in limits.items() if name not in told]
                message["headers"] = [*headers, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await app(scope, receive, tagged)
        finally:
            if seconds is None:
                seconds = time.perf_counter() - began
            LATENCY.labels(method, str(status)).observe(seconds)
            on_answered(scope, status)
            logger.debug(
                "request",
                method=method,
                path=scope["path"],
                status=status,
                seconds=round(seconds, 4),
            )

    return wrapped
