"""A call as data, and what its answer means: the part of the client that does no I/O."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from tunesmith._exceptions import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionError,
    RateLimitError,
    ServerError,
    TimeoutError,
)
from tunesmith._models import Cursor
from tunesmith._retry import retry_after_seconds
from tunesmith._source import Window
from tunesmith._version import __version__

USER_AGENT = f"tunesmith-python/{__version__} python/{platform.python_version()}"
LONGEST_QUOTE = 200


@dataclass(frozen=True)
class Form:
    """A multipart upload: `file` is read from its beginning for each try, and goes as the field `name`."""

    file: IO[bytes] | Window
    filename: str
    fields: Mapping[str, str] = field(default_factory=dict)
    name: str = "file"


@dataclass(frozen=True)
class Call:
    """One logical call, however often it is tried.

    `answers` are statuses that are an answer and no error, beside 2xx. `silence` is set where an answer comes
    in pieces over a long time: at least so many seconds may pass between two of them. `gone` is the answer to
    a DELETE whose earlier try may have been taken without our hearing of it, when the next finds nothing.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    form: Form | None = None
    idempotency_key: str | None = None
    answers: frozenset[int] = frozenset()
    more_headers: Mapping[str, str] = field(default_factory=dict)
    silence: float | None = None
    gone: Mapping[str, Any] | None = None

    def headers(self) -> dict[str, str]:
        """The headers of its own."""
        headers = dict(self.more_headers)
        if self.idempotency_key:
            headers["idempotency-key"] = self.idempotency_key
        return headers

    def patience(self, timeout: float | None) -> httpx.Timeout | float | None:
        """The client's timeout, for the pieces of a long answer as long as they take."""
        if self.silence is None:
            return timeout
        return httpx.Timeout(timeout, read=max(timeout or 0.0, self.silence))

    def query(self) -> dict[str, Any]:
        """The query parameters that are set."""
        return {name: value for name, value in self.params.items() if value is not None}

    def body(self) -> dict[str, Any]:
        """The body, as arguments of httpx; a form's file is wound back."""
        if self.form is not None:
            self.form.file.seek(0)
            content = (self.form.filename, self.form.file, "application/octet-stream")
            return {"files": {self.form.name: content}, "data": dict(self.form.fields)}
        return {} if self.json is None else {"json": self.json}

    def accepts(self, status: int) -> bool:
        """Whether this status is an answer and no error."""
        return 200 <= status < 300 or status in self.answers


def post(path: str, json: Any = None, key: str | None = None, *, form: Form | None = None) -> Call:
    """A POST with its `Idempotency-Key`, given or fresh, which stays the same over all tries."""
    return Call("POST", path, json=json, form=form, idempotency_key=key or str(uuid4()))


def delete(route: str, id: str, object: str) -> Call:
    """A DELETE after which there is nothing of this id: done, too, when a repeat of it finds nothing."""
    return Call("DELETE", path_to(route, id), gone={"id": id, "object": object, "deleted": True})


def path_to(route: str, id: str) -> str:
    """The path of a thing by its id. Raises ValueError when the id could not be one."""
    if not id.strip("."):
        raise ValueError(f"{id!r} cannot be an id")
    return f"{route}/{quote(id, safe=':')}"


def without_none(**fields: Any) -> dict[str, Any]:
    """The fields that are set."""
    return {name: value for name, value in fields.items() if value is not None}


def json_object(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object. Raises `APIError` when it is none."""
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise APIError(
            f"{response.request.method} {response.request.url} answered {response.status_code} with "
            f"something that is no JSON object: {_quoted(response)}; is base_url the address of a Tunesmith "
            "service?",
            status_code=response.status_code,
            request_id=response.headers.get("x-request-id"),
        )
    return content


def rows_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a list answer."""
    rows = answer.get("data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def cursor_of(answer: Mapping[str, Any]) -> Cursor:
    """Where the page ends and the next one begins."""
    rows = rows_of(answer)
    last = answer.get("next_after") or answer.get("last_id") or (rows[-1].get("id") if rows else None)
    more = bool(answer.get("has_more")) and isinstance(last, str)
    return Cursor(more, last if more else None)


ERRORS: dict[int, type[APIError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionError,
    404: NotFoundError,
    405: InvalidRequestError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitError,
}


def error_of_answer(response: httpx.Response, now: float) -> APIError:
    """The exception that an answer means; its body must have been read. `now` is in Unix seconds."""
    status = response.status_code
    told = _told(response)
    faults = told.get("errors")
    answer: dict[str, Any] = {
        "status_code": status,
        "type": _text(told.get("type")),
        "code": _text(told.get("code")),
        "param": _text(told.get("param")),
        "request_id": response.headers.get("x-request-id"),
        "errors": tuple(fault for fault in faults if isinstance(fault, dict))
        if isinstance(faults, list)
        else (),
    }
    message = _text(told.get("message")) or _unexplained(response)
    kind = ServerError if status >= 500 else ERRORS.get(status, APIError)
    if issubclass(kind, (RateLimitError, ServerError)):
        return kind(message, retry_after=retry_after_seconds(response.headers, now), **answer)
    return kind(message, **answer)


def error_of_no_answer(error: httpx.RequestError, base_url: str, timeout: float | None) -> APIError:
    """The exception that a failure of the transport means."""
    if isinstance(error, httpx.TimeoutException):
        limit = f" after {timeout:g} s" if timeout is not None else ""
        return TimeoutError(f"Request timeout{limit}: {base_url} does not answer")
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        return APIConnectionError(
            f"Failed to connect to API at {base_url}: {reason}; is the service running there?"
        )
    return APIConnectionError(f"the connection to {base_url} broke: {reason}")


def may_pass(error: httpx.RequestError) -> bool:
    """Whether the same request could succeed when it is sent again."""
    permanent = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects)
    return isinstance(error, httpx.TransportError) and not isinstance(error, permanent)


def may_be_taken(error: httpx.RequestError) -> bool:
    """Whether the request may have reached the service all the same."""
    return not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))


def _told(response: httpx.Response) -> dict[str, Any]:
    try:
        content = json.loads(response.content)
    except ValueError:
        return {}
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _unexplained(response: httpx.Response) -> str:
    status = response.status_code
    asked = f"{response.request.method} {response.request.url}"
    if 300 <= status < 400:
        there = response.headers.get("location", "elsewhere")
        return f"{asked} was redirected to {there}: set base_url to the service's own address"
    return f"{asked} answered {status} {response.reason_phrase}: {_quoted(response)}"


def _quoted(response: httpx.Response) -> str:
    text = " ".join(response.text.split())
    return (text[:LONGEST_QUOTE] + "…" if len(text) > LONGEST_QUOTE else text) or "(empty)"
