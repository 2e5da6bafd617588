"""What can go wrong with a call, as one tree.

    APIError                      anything below
    ├── APIConnectionError        no answer: refused, cut off, no such host
    ├── TimeoutError              no answer in time (also `APITimeoutError`, and a builtin TimeoutError)
    ├── InvalidRequestError       400, 405, 413, 415, 422: the request is wrong; `param` says where
    ├── AuthenticationError       401: no key, or one that is not known
    ├── PermissionError           403: account suspended, or the key lacks a scope
    ├── NotFoundError             404: not there, or another account's
    ├── ConflictError             409: idempotency key reused with another body
    ├── RateLimitError            429: `retry_after` says when to come back
    └── ServerError               5xx: the service failed; trying again may help

Apart from calls, a webhook that is received may fail:

    WebhookVerificationError      its signature does not hold (a builtin ValueError)

All of them can be pickled and copied.
"""

from __future__ import annotations

import builtins
from typing import Any, TypedDict


class ErrorType:
    """The words that `error.type` may have."""

    INVALID_REQUEST = "invalid_request_error"
    AUTHENTICATION = "authentication_error"
    PERMISSION = "permission_error"
    NOT_FOUND = "not_found_error"
    RATE_LIMIT = "rate_limit_error"
    SERVER_ERROR = "server_error"


class RequestFault(TypedDict):
    """One thing wrong with a request."""

    param: str | None
    message: str
    code: str


class APIError(Exception):
    """A call failed.

    Attributes:
        message: One sentence; also `str(error)`.
        status_code: The HTTP status; None when there was no answer.
        type: The kind of error, one of `ErrorType` (None without an answer).
        code: A stable code such as `file_not_found`.
        param: The parameter at fault, such as `hyperparameters.rank`.
        request_id: The answer's `x-request-id`: quote it to the operator.
        errors: All faults of the request, each a `RequestFault`; `param` above is the first one's.
        upload_id: The upload in parts that broke off: `files.upload(path, resume=error.upload_id)` goes on.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        errors: tuple[RequestFault, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message: str = message
        self.status_code: int | None = status_code
        self.type: str | None = type
        self.code: str | None = code
        self.param: str | None = param
        self.request_id: str | None = request_id
        self.errors: tuple[RequestFault, ...] = errors
        self.upload_id: str | None = None

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        told = {name: getattr(self, name) for name in ("status_code", "code", "param", "request_id")}
        words = [
            repr(self.message),
            *(f"{name}={value!r}" for name, value in told.items() if value is not None),
        ]
        return f"{type(self).__name__}({', '.join(words)})"


class APIConnectionError(APIError):
    """The service could not be reached, or the connection broke before its answer was whole."""


class TimeoutError(APIError, builtins.TimeoutError):
    """No answer in time, or a job that did not end in time."""


APITimeoutError = TimeoutError


class InvalidRequestError(APIError):
    """The request is wrong: `param` names the parameter, `errors` holds all faults."""

    def __init__(self, message: str = "", param: str | None = None, **answer: Any) -> None:
        super().__init__(message, param=param, **answer)


class AuthenticationError(APIError):
    """No API key, or one that is not known, revoked or expired."""


class PermissionError(APIError):
    """The account is suspended, or the key lacks the scope that this needs."""


class NotFoundError(APIError):
    """There is no such thing, or it belongs to another account."""


class ConflictError(APIError):
    """The request conflicts with an earlier one, such as an idempotency key used with another body."""


class RateLimitError(APIError):
    """Too many requests, or a quota is used up; `retry_after` is in seconds, None when not told."""

    def __init__(self, message: str = "", retry_after: float | None = None, **answer: Any) -> None:
        super().__init__(message, **answer)
        self.retry_after: float | None = retry_after


class ServerError(APIError):
    """The service failed, or something it stands on does not answer; `retry_after` is in seconds."""

    def __init__(self, message: str = "", retry_after: float | None = None, **answer: Any) -> None:
        super().__init__(message, **answer)
        self.retry_after: float | None = retry_after


class WebhookVerificationError(ValueError):
    """A request that claims to be a webhook is not from the service, too old or too new: do not act on it."""
