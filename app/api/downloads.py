"""Bytes handed out piece by piece, as long as the key that asked for them is good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from app.api.session import Session
from app.api.wire import HANG_UP


class Download(Stream):
    """An answer of `size` bytes to be stored as `name`; None: how many is not known before the end.

    Once its key is no longer good the connection breaks, so that nobody takes what came for the whole.
    """

    def __init__(
        self, session: Session, chunks: AsyncIterator[bytes], *, name: str, size: int | None, media_type: str
    ) -> None:
        label = name.encode("ascii", "replace").decode().replace('"', "'")
        headers = {"content-disposition": f'attachment; filename="{label}"'}
        if size is not None:
            headers["content-length"] = str(size)
        super().__init__(chunks, media_type=media_type, headers=headers)
        self._keys, self._key_id = session.service.keys, session.caller.key_id

    def to_asgi_response(self, *given: Any, **named: Any) -> ASGIApp:  # type: ignore[override]
        answer = super().to_asgi_response(*given, **named)

        async def told(scope: Scope, receive: Receive, send: Send) -> None:
            extensions: Any = scope["extensions"]
            with self._keys.while_good(self._key_id, extensions[HANG_UP]["abort"]):
                await answer(scope, receive, send)

        return told
