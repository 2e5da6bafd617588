"""The uploads: large files in parts, which can be gone on with after a break."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tunesmith._async._transport import AsyncTransport
from tunesmith._call import Call, Form, path_to, post, without_none
from tunesmith._exceptions import APIError
from tunesmith._models import File
from tunesmith._source import OnProgress, Source, Window
from tunesmith._uploads import PART_SIZE, Upload, UploadPart, arrived, compared, verified

ROUTE = "/v1/uploads"
PUT_TOGETHER_WITHIN = 600.0


class AsyncUploadResource:
    """`client.uploads`, which `files.upload` uses for large files."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        filename: str,
        bytes: int,
        purpose: str = "fine-tune",
        *,
        mime_type: str = "application/jsonl",
        idempotency_key: str | None = None,
    ) -> Upload:
        """Announce a file; its parts follow, or `files.upload(path, resume=upload.id)` sends them.

        Args:
            filename: Its name at the service.
            bytes: Its size.
            purpose: What it is for.
            mime_type: What it holds.
            idempotency_key: Makes repeated calls one upload.
        """
        body = {"filename": filename, "bytes": bytes, "purpose": purpose, "mime_type": mime_type}
        return Upload(await self._transport.json(post(ROUTE, body, idempotency_key)))

    async def get(self, upload_id: str) -> Upload:
        """One upload with the parts that have arrived. Raises `NotFoundError` when there is none."""
        return Upload(await self._transport.json(Call("GET", path_to(ROUTE, upload_id))))

    async def add_part(
        self, upload_id: str, data: bytes, *, idempotency_key: str | None = None
    ) -> UploadPart:
        """Send a part of up to 64 MB; parts may be sent in any order, and at the same time."""
        return await send_part(self._transport, upload_id, Window.over(data), idempotency_key)

    async def complete(
        self,
        upload_id: str,
        part_ids: Sequence[str],
        *,
        md5: str | None = None,
        sha256: str | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Put the parts together, in the order given, to a file, which is then checked; it is in `file`.

        Of a large one that takes its time: the answer is waited for up to 10 minutes.

        Raises:
            InvalidRequestError: Size or a given digest are not those of the whole.
        """
        body = without_none(part_ids=list(part_ids), md5=md5, sha256=sha256)
        call = post(f"{path_to(ROUTE, upload_id)}/complete", body, idempotency_key)
        return Upload(await self._transport.json(replace(call, silence=PUT_TOGETHER_WITHIN)))

    async def cancel(self, upload_id: str, *, idempotency_key: str | None = None) -> Upload:
        """Throw its parts away."""
        call = post(f"{path_to(ROUTE, upload_id)}/cancel", key=idempotency_key)
        return Upload(await self._transport.json(call))


async def send_part(transport: AsyncTransport, upload_id: str, window: Window, key: str | None) -> UploadPart:
    """Send a stretch of a file as a part. Raises `APIError`."""
    form = Form(window, "part", name="data")
    return UploadPart(await transport.json(post(f"{path_to(ROUTE, upload_id)}/parts", key=key, form=form)))


async def sent_in_parts(
    transport: AsyncTransport,
    source: Source,
    upload: Upload,
    on_progress: OnProgress | None,
    part_size: int = PART_SIZE,
) -> File:
    """Send what the service does not have yet and complete the upload; the file it became.

    Raises `APIError`, whose `upload_id` says what to go on with.
    """
    try:
        parts = arrived(upload, source.size)
        digest, offset = await asyncio.to_thread(compared, source, upload, parts)
        part_ids = [part.id for part in parts]
        while offset < source.size and upload.status == "pending":
            window = Window(source, offset, part_size, digest, on_progress)
            # A part of which nobody knows whether it arrived is the same part when it is sent again.
            part = await send_part(transport, upload.id, window, f"{upload.id}:{offset}:{window.length}")
            part_ids.append(part.id)
            digest, offset = window.digest, offset + window.length
        if upload.status == "pending":
            uploads = AsyncUploadResource(transport)
            upload = await uploads.complete(upload.id, part_ids, sha256=digest.hexdigest())
        file = upload.file
        if file is None:
            raise APIError(f"upload {upload.id} is {upload.status}, but the answer names no file")
        return verified(file, digest.hexdigest())
    except APIError as error:
        error.upload_id = upload.id
        raise
