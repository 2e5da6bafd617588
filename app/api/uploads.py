"""A multipart upload, streamed: its file goes to the object store as it comes in, never whole into memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Any

from litestar import Request
from msgspec import Struct
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from app.api.auth import no_longer_good
from app.api.checksums import BodyDigest, compare_sha256
from app.api.errors import ApiError, invalid
from app.api.schemas.errors import RequestFault
from app.api.session import session_of
from app.storage.store import Store, Stored

LARGEST_FIELD = 64 * 1024
SHA256 = "x-content-sha256"


class Upload(Struct, frozen=True):
    """An upload's form: the file as stored, and the other fields."""

    filename: str
    stored: Stored
    fields: dict[str, str]


async def receive(
    request: Request[Any, Any, Any], store: Store, key: str, limit: int, *, field: str = "file"
) -> Upload:
    """Take a form with one file field, named `field`, and store that under `key`.

    Digests that come along must be those of what is stored. Raises `ApiError` 400, 413, 415; then nothing is.
    """
    kind, options = parse_options_header(request.headers.get("content-type") or "")
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise ApiError(
            415, "unsupported_media_type", f"send the file as multipart/form-data, in the field `{field}`"
        )
    try:
        parser = PushMultipartParser(options["boundary"], max_segment_count=16, max_header_size=8192)
        body = BodyDigest(request.headers)
        form = await _Form(request, parser, store, key, limit, field, body).read()
        body.compare()
        told = ("sha256", form.fields.get("sha256")), (SHA256, request.headers.get(SHA256))
        compare_sha256(form.stored.sha256, *told)
        return form
    except MultipartError as error:
        await store.delete(key)
        raise ApiError(400, "invalid_multipart", f"the form cannot be read: {error}") from error
    except BaseException:
        await store.delete(key)
        raise


class _Form:
    """One form being read."""

    def __init__(
        self,
        request: Request[Any, Any, Any],
        parser: PushMultipartParser,
        store: Store,
        key: str,
        limit: int,
        field: str,
        body: BodyDigest,
    ) -> None:
        self._parser, self._store, self._key, self._limit = parser, store, key, limit
        self._field, self._body = field, body
        self._parts = self._parse(_while_good(request))

    async def _parse(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """Segment heads, bytes of the segment, None at its end."""
        with self._parser as parser:
            async for chunk in chunks:
                self._body.update(chunk)
                for part in parser.parse(chunk):
                    yield part
            if not parser.closed:
                for part in parser.parse(b""):
                    yield part

    async def read(self) -> Upload:
        fields: dict[str, str] = {}
        stored: Stored | None = None
        filename = ""
        async for head in self._parts:
            assert isinstance(head, MultipartSegment)
            if head.name == self._field and head.filename is not None:
                if stored is not None:
                    raise invalid([RequestFault(self._field, "the form has more than one file")])
                filename = safe_name(head.filename)
                stored = await self._store.put(self._key, self._content())
            else:
                content = bytearray()
                async for chunk in self._content():
                    content += chunk
                    if len(content) > LARGEST_FIELD:
                        raise invalid(
                            [RequestFault(head.name[:64], "a field other than the file may have 64 KiB")]
                        )
                name = head.name[:64]
                if name in fields:
                    raise invalid([RequestFault(name, "the form has this field twice")])
                fields[name] = content.decode(errors="replace")
        if stored is None:
            message = f"the form has no field `{self._field}` with a file in it"
            raise invalid([RequestFault(self._field, message, "missing_field")])
        return Upload(filename, stored, fields)

    async def _content(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._parts:
            if part is None:
                return
            size += len(part)
            if size > self._limit:
                message = f"it may have at most {self._limit} bytes"
                raise ApiError(413, "file_too_large", message, self._field)
            yield bytes(part)


async def _while_good(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """A body as it comes in. Raises `ApiError` 401 once its key is no longer good."""
    session = session_of(request)
    worthless = asyncio.Event()
    with session.service.keys.while_good(session.caller.key_id, worthless.set):
        async for chunk in request.stream():
            if worthless.is_set():
                raise no_longer_good()
            yield chunk


def safe_name(given: str) -> str:
    """The last part of a client's file name, without what cannot be printed: a label, never a path."""
    name = PurePosixPath(given.replace("\\", "/")).name
    label = "".join(letter for letter in name if letter.isprintable())[:255]
    return label if label.strip(".") else "file"
