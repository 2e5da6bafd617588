"""The files: uploaded for training, or made by it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO
from uuid import uuid4

from tunesmith._async._page import AsyncPage, paged
from tunesmith._async._transport import AsyncTransport
from tunesmith._async._uploads import AsyncUploadResource, sent_in_parts
from tunesmith._call import Call, Form, delete, path_to, post, without_none
from tunesmith._exceptions import APIError, TimeoutError
from tunesmith._models import Deleted, File, FileCheck, FileFault
from tunesmith._source import OnProgress, Window, opened
from tunesmith._uploads import LARGEST_IN_ONE_PIECE, verified
from tunesmith._waiting import Deadline, Patience


class AsyncFileResource:
    """`client.files`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def upload(
        self,
        file: str | os.PathLike[str] | bytes | IO[bytes],
        purpose: str = "fine-tune",
        *,
        filename: str | None = None,
        resume: str | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
    ) -> File:
        """Upload a file and have it checked; in constant memory, however large it is.

        The answer's `status` is `processed` when it can be tuned on, `error` when the check found faults (see
        `check`), and `uploaded` while a long check goes on (see `wait_until_processed`). A file of more than
        64 MiB goes up in parts: when that breaks off, the error's `upload_id` is what to `resume`.

        Args:
            file: A path, bytes, or a file opened with mode "rb", which is sent from its beginning.
            purpose: What it is for.
            filename: Its name at the service; the file's own otherwise.
            resume: The id of an upload of this very file, to send only what the service does not have yet.
            on_progress: Called with the bytes sent so far and their number in all; fewer again after a retry.
            idempotency_key: Makes repeated uploads of the same file one; otherwise each is its own.

        Raises:
            InvalidRequestError: It is empty or too large, or not the file whose upload it is to resume.
            APIError: The service holds other bytes than were sent, by their sha256.
            OSError: It cannot be read.
        """
        with opened(file, filename) as source:
            if resume is None and source.size <= LARGEST_IN_ONE_PIECE:
                window = Window(source, 0, source.size, hashlib.sha256(), on_progress)
                form = Form(window, source.filename, {"purpose": purpose})
                call = post("/v1/files", key=idempotency_key, form=form)
                return verified(File(await self._transport.json(call)), window.digest.hexdigest())
            uploads = AsyncUploadResource(self._transport)
            if resume is None:
                begun = await uploads.create(
                    source.filename, source.size, purpose, idempotency_key=idempotency_key
                )
                # Of a repeated key the answer is the first one, and the upload may have come far since.
                upload = await uploads.get(begun.id) if idempotency_key is not None else begun
            else:
                upload = await uploads.get(resume)
            return await sent_in_parts(self._transport, source, upload, on_progress)

    async def list(
        self,
        limit: int = 20,
        after: str | None = None,
        *,
        purpose: str | None = None,
        order: str | None = None,
    ) -> AsyncPage[File]:
        """A page of the account's uploaded files, newest first.

        Args:
            limit: Files per page.
            after: Id of the last file of the page before.
            purpose: Only those of this purpose.
            order: `asc` for oldest first.
        """
        params = without_none(limit=limit, after=after, purpose=purpose, order=order)
        return await paged(self._transport, "/v1/files", params, File)

    async def iter(
        self, *, purpose: str | None = None, order: str | None = None, page_size: int = 100
    ) -> AsyncIterator[File]:
        """Every uploaded file, page by page. Raises `APIError`."""
        page = await self.list(page_size, purpose=purpose, order=order)
        async for file in page.iter():
            yield file

    async def get(self, file_id: str) -> File:
        """One file. Raises `NotFoundError` when there is none of this id."""
        return File(await self._transport.json(Call("GET", path_to("/v1/files", file_id))))

    async def check(self, file_id: str, *, limit: int | None = None, after: int | None = None) -> FileCheck:
        """What the check of a file found: faults and warnings with line and fix, and statistics.

        Args:
            file_id: The file.
            limit: How many faults, and how many warnings, at most; 1000 otherwise.
            after: Pass over so many of each.
        """
        path, params = path_to("/v1/files", file_id) + "/check", without_none(limit=limit, after=after)
        return FileCheck(await self._transport.json(Call("GET", path, params=params)))

    async def faults(self, file_id: str, *, page_size: int = 1000) -> AsyncIterator[FileFault]:
        """Every fault that the check of a file found, however many. Raises `APIError`."""
        after = 0
        while True:
            check = await self.check(file_id, limit=page_size, after=after)
            for fault in check.faults or []:
                yield fault
            after += page_size
            if not check.has_more or not check.faults:
                return

    async def delete(self, file_id: str) -> Deleted:
        """Take a file out of use; running tunings keep what they read. Raises `NotFoundError`."""
        return Deleted(await self._transport.json(delete("/v1/files", file_id, "file")))

    async def content(self, file_id: str) -> bytes:
        """A file's bytes, in memory; for a large one see `download`. Raises `NotFoundError`."""
        response = await self._transport.send(Call("GET", path_to("/v1/files", file_id) + "/content"))
        return response.content

    async def download(self, file_id: str, target: str | os.PathLike[str]) -> Path:
        """Write a file's bytes to the path `target`, which appears only once it is complete; that path.

        Raises:
            NotFoundError: There is no file of this id.
            OSError: The path cannot be written.
        """
        path = Path(target).expanduser().absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid4().hex}.part")
        try:
            with partial.open("wb") as sink:
                await self._transport.download(Call("GET", path_to("/v1/files", file_id) + "/content"), sink)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    async def wait_until_processed(
        self, file_id: str, poll_interval: float = 1.0, timeout: float | None = None
    ) -> File:
        """Wait until a file's check is done: its `status` then is `processed` or `error`.

        Args:
            file_id: The file.
            poll_interval: Seconds between looks.
            timeout: Seconds to wait at most; for ever when None.

        Raises:
            TimeoutError: It is still being checked then.
        """
        patience, deadline = Patience(), Deadline(timeout)
        while True:
            try:
                file = await self.get(file_id)
            except APIError as error:
                if deadline.over or not patience.bears(error):
                    raise
            else:
                patience.answered()
                if file.status != "uploaded":
                    return file
                if deadline.over:
                    raise TimeoutError(f"File {file_id} was not processed within {timeout:g}s")
            await self._transport.sleep(deadline.within(poll_interval))
