"""Every refusal in one form, `{"error": {type, message, code, param}}`, with the status that goes with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import asyncpg
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.routes import HTTPRoute
from msgspec import UNSET

from app.api.edge import REFUSED
from app.api.schemas.errors import Error, ErrorBody, ErrorType, RequestFault
from app.database import DATABASE_ERRORS
from app.domain.wording import in_words
from app.log.port import LogError
from app.storage.store import StorageError, StorageFull

RETRY_AFTER_SECONDS = 5  # clients try two or three times by default: enough for a short restart
MOST_FAULTS = 100  # told of one request: a body that is all faults is not answered with a larger one

TYPES: dict[int, ErrorType] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    500: "server_error",
    503: "server_error",
}

logger = structlog.get_logger("api")


class ApiError(Exception):
    """A refusal: HTTP status, stable code, a sentence, and what it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        faults: tuple[RequestFault, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers, self.faults = headers or {}, faults


def invalid(faults: list[RequestFault] | tuple[RequestFault, ...]) -> ApiError:
    """All faults of a request, up to `MOST_FAULTS`: the first in `param`, all of them in `errors`."""
    first = faults[0]
    return ApiError(400, first.code, first.message, first.param, faults=tuple(faults[:MOST_FAULTS]))


def missing(noun: str, id: str) -> ApiError:
    """An id in the path that is not there, or is another account's: the two look the same."""
    return ApiError(404, "not_found", f"there is no {noun} {id!r}", "id")


def unavailable(what: str, *, retry: bool = True) -> ApiError:
    """A dependency is down; without `retry` it is unknown whether the command took."""
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)}
    if not retry:
        headers["x-should-retry"] = "false"
    return ApiError(503, "unavailable", what, headers=headers)


def error_body(error: ApiError) -> ErrorBody:
    """The body that tells of a refusal."""
    type = TYPES.get(error.status, "invalid_request_error")
    return ErrorBody(Error(type, error.message, error.code, error.param, error.faults or UNSET))


def answer(error: ApiError) -> Response[Any]:
    """The response for a refusal."""
    return Response(error_body(error), status_code=error.status, headers=error.headers)


def handle_api_error(_: Request[Any, Any, Any], error: ApiError) -> Response[Any]:
    """A refusal of our own."""
    return answer(error)


def handle_validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[Any]:
    """Parameters that are not as their route declares them."""
    extra = error.extra if isinstance(error.extra, list) else []
    taken = request.route_handler.parsed_fn_signature.parameters
    faults = [
        RequestFault(name, in_words(name, str(each["message"]), taken[name].raw if name in taken else None))
        for each in extra
        for name in [str(each.get("key"))]
    ]
    return answer(invalid(faults or [RequestFault(None, error.detail)]))


def handle_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Litestar's own refusals: unknown route, wrong method, unreadable body."""
    status = error.status_code
    if status == 500 and error.detail == "client disconnected prematurely":
        return answer(ApiError(400, "body_incomplete", "the request's body broke off"))
    match status:
        case 404:
            return answer(
                ApiError(404, "unknown_route", f"there is no route {request.method} {request.url.path}")
            )
        case 405:
            allowed = ", ".join(_methods(request))
            message = f"{request.url.path} does not take {request.method}, but {allowed}"
            return answer(ApiError(405, "method_not_allowed", message, headers={"allow": allowed}))
        case 413:
            return answer(ApiError(413, "body_too_large", "the request's body is too large"))
        case _ if status < 500:
            return answer(ApiError(status, "invalid_request", error.detail))
    return handle_unexpected(request, error)


def _methods(request: Request[Any, Any, Any]) -> list[str]:
    """What the path of a request takes; the framework knows, and does not say."""
    taken: set[str] = set()
    for route in request.app.routes:
        pattern = re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(route.path_format))
        if isinstance(route, HTTPRoute) and re.fullmatch(pattern, request.url.path):
            taken |= set(route.methods)
    return sorted(taken - {"OPTIONS"})


def handle_dependency(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Kafka, PostgreSQL or the object store is down."""
    logger.warning("dependency_failed", error=repr(error))
    if isinstance(error, StorageFull):
        return answer(unavailable("the object store has no room left; ask your operator to make some"))
    what = {LogError: "Kafka", StorageError: "the object store"}
    name = next((text for kind, text in what.items() if isinstance(error, kind)), "the database")
    return answer(unavailable(f"{name} does not answer just now; try again"))


def handle_unstorable(request: Request[Any, Any, Any], error: asyncpg.DataError) -> Response[Any]:
    """Text that PostgreSQL has no place for, a NUL above all: nothing that is there can be meant by it."""
    if "\x00" in request.url.path or "%00" in request.url.path:
        return answer(ApiError(404, "not_found", f"there is no {request.url.path!r}", "id"))
    return answer(ApiError(400, "invalid_value", f"a parameter cannot be used: {error}"))


def handle_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """What nobody foresaw: the log has it, the answer does not."""
    logger.error("request_failed", path=request.url.path, exc_info=error)
    return answer(ApiError(500, "internal_error", "something went wrong here; the operator's log has more"))


def _told(handle: Callable[[Request[Any, Any, Any], Any], Response[Any]]) -> Any:
    """A handler that leaves its refusal's code to the edge."""

    def handled(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        response = handle(request, error)
        request.scope["state"][REFUSED] = response.content.error.code
        return response

    return handled


_HANDLERS: dict[Any, Any] = {
    ApiError: handle_api_error,
    ValidationException: handle_validation,
    HTTPException: handle_http,
    **dict.fromkeys((LogError, StorageError, *DATABASE_ERRORS), handle_dependency),
    asyncpg.DataError: handle_unstorable,
    Exception: handle_unexpected,
}

HANDLERS = {kind: _told(handle) for kind, handle in _HANDLERS.items()}
