"""HTTP/1.1 as bytes: uvicorn's protocol on httptools with bounds, and refusals in the form of all others.

What a client may not do here is to hold a connection by doing next to nothing: its head must come within
`HEAD_SECONDS`, its body at `LEAST_BODY_BYTES` in any `PACE_SECONDS`, and what it is sent must be taken within
`UNREAD_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.errors import ApiError, error_body

LARGEST_HEAD = 64 * 1024  # bytes before a body, between its chunks, or behind it
HEAD_SECONDS = 10.0
PACE_SECONDS = 10.0
LEAST_BODY_BYTES = 8 * 1024
LINGER_PACES = 6
UNREAD_SECONDS = 60.0
HANG_UP_SECONDS = 2.0

HANG_UP = "tunesmith.hang_up"
"""An extension of the ASGI scope: `abort` breaks the connection, whatever is still to be sent."""

TOO_SLOW = ApiError(408, "request_too_slow", "the request did not come in time; send it again")


Refused = Callable[[ApiError, str, str | None], None]
"""Hears of a refusal here, its request id, and where the client is."""


def bounded(on_refused: Refused) -> type[BoundedProtocol]:
    """The protocol for a server that wants to hear of what is refused before there is a request."""
    return type("BoundedProtocol", (BoundedProtocol,), {"on_refused": staticmethod(on_refused)})


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose client cannot make the server wait or keep what never ends."""

    on_refused: Refused = staticmethod(lambda *_: None)

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]
        self._unfinished = 0
        self._in_body = False
        self._came = 0
        self._answered = 0  # times that the body was looked at since it was answered
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._hanging_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._stop_writing_clock()
        if self._hanging_up is not None:
            self._hanging_up.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._hanging_up is not None:
            return
        self._unfinished += len(data)
        super().data_received(data)
        if self._hanging_up is not None or self.transport.is_closing():
            return
        if self._unfinished and self._reading is None:
            self._expect_head()
        if self._unfinished > LARGEST_HEAD:
            self._refuse(
                ApiError(431, "head_too_large", f"path and headers may have {LARGEST_HEAD} bytes together")
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {HANG_UP: {"abort": self.transport.abort}}
        if self._reading is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._unfinished = self._answered = 0
        super().on_headers_complete()
        self._expect_body()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        self._came += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unfinished = 0
        self._expect_nothing()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_writing_clock()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(ApiError(400, "malformed_request", "this is not a request of HTTP/1.1"))

    def _expect_head(self) -> None:
        self._expect_nothing()
        self._reading = self.loop.call_later(HEAD_SECONDS, self._look_at_head)

    def _expect_body(self) -> None:
        self._expect_nothing()
        self._in_body, self._came = True, 0
        self._reading = self.loop.call_later(PACE_SECONDS, self._look_at_pace)

    def _expect_nothing(self) -> None:
        self._in_body = False
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _look_at_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_head()  # a request in front of it is still being answered
        elif self._unfinished:
            self._refuse(TOO_SLOW)
        else:
            self.transport.close()

    def _look_at_pace(self) -> None:
        """A body that comes at a pace may go on, and one that nobody here reads just now.

        One that is answered already is taken for a while: many clients read no answer before they have sent
        all, and would not see it on a connection that breaks.
        """
        self._answered += self.cycle.response_complete
        if self._answered <= LINGER_PACES and (self.flow.read_paused or self._came >= LEAST_BODY_BYTES):
            self._expect_body()
        else:
            self._refuse(TOO_SLOW)

    def _stop_writing_clock(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _refuse(self, error: ApiError) -> None:
        """Answer, unless an answer has begun, and hang up."""
        if self._in_body:
            answered = self.cycle.response_started or bool(self.pipeline)
            self.cycle.disconnected = True  # whoever reads the body is told
            self.cycle.message_event.set()
        else:
            answered = self.cycle is not None and not self.cycle.response_complete
        if not answered:
            request_id, body = f"req-{uuid4().hex}", msgspec.json.encode(error_body(error))
            if not self._in_body:  # of a request the app is told, and tells
                self.on_refused(error, request_id, self.client[0] if self.client else None)
            head = [
                f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
                "content-type: application/json",
                f"content-length: {len(body)}",
                f"x-request-id: {request_id}",
                "connection: close",
            ]
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        answering = answered and (bool(self.pipeline) or not self.cycle.response_complete)
        if answering or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """Say that nothing more is sent, and throw away what comes in until the client has hung up too.

        A connection closed over unread bytes is reset, and a client that still sends would lose its answer
        (RFC 9112, section 9.6).
        """
        self._expect_nothing()
        self.flow.resume_reading()
        self._hanging_up = self.loop.call_later(HANG_UP_SECONDS, self.transport.close)
        self.transport.write_eof()
