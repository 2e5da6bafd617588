"""HTTP/1.1 as bytes: uvicorn's protocol on httptools with a bound, and refusals in the form of all others."""

from __future__ import annotations

from http import HTTPStatus
from uuid import uuid4

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.errors import ApiError, error_body

LARGEST_HEAD = 64 * 1024  # bytes before a body, between its chunks, or behind it


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose client cannot make the server keep a head that never ends."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]
        self._unfinished = 0

    def data_received(self, data: bytes) -> None:
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > LARGEST_HEAD and not self.transport.is_closing():
            self._refuse(
                ApiError(431, "head_too_large", f"path and headers may have {LARGEST_HEAD} bytes together")
            )

    def on_headers_complete(self) -> None:
        self._unfinished = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(ApiError(400, "malformed_request", "this is not a request of HTTP/1.1"))

    def _refuse(self, error: ApiError) -> None:
        """Answer, unless an answer has begun, and hang up."""
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode(error_body(error))
            head = [
                f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
                "content-type: application/json",
                f"content-length: {len(body)}",
                f"x-request-id: req-{uuid4().hex}",
                "connection: close",
            ]
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()
