"""The files: uploaded, listed, read, deleted; those that tunings made among them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, get_args
from uuid import uuid4

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from app.api.decisions import decided
from app.api.downloads import Download
from app.api.errors import ApiError, invalid
from app.api.faults import file_check
from app.api.forms import known_fields
from app.api.idempotency import Replayed, idempotency_key, once
from app.api.limits import release
from app.api.requests import NO_NUL, After
from app.api.room import admit_bytes, announced
from app.api.schemas.errors import RequestFault
from app.api.schemas.files import FileCheck, FileObject, file_view, result_file_view
from app.api.schemas.form import Purpose, UploadForm
from app.api.schemas.pages import Deleted, Page, page
from app.api.session import Authenticated, Session
from app.api.stored_files import register, the_file
from app.api.uploads import Upload, receive
from app.domain.files import FILES, DeleteFile, File, RegisterFile
from app.domain.ids import derive_id
from app.storage.keys import file_place
from app.storage.store import ObjectMissing

PURPOSES = get_args(Purpose)

LargeLimit = Annotated[int, QueryParameter(ge=1, le=10_000, description="How many at most.")]


@post(
    "/v1/files",
    operation_id="uploadFile",
    answer_headers=("location",),
    status_code=201,
    scope="write",
    body=UploadForm,
)
async def upload(request: Request[Any, Any, Any], session: Authenticated) -> Response[FileObject]:
    """Upload a file and have it checked; `status` is `uploaded` when the check takes longer than 10 s."""
    key = idempotency_key(request)
    id = derive_id("file", session.caller.account_id, key) if key else derive_id("file", uuid4().hex)
    store = session.service.store
    # A place of its own: a repeat of the same request, even one under way, never touches another's bytes.
    place = file_place(id, uuid4().hex)
    await admit_bytes(session, id, announced(request), "file")
    try:
        form = await receive(request, store, place, session.service.settings.upload_limit_bytes)
    except BaseException:
        await release(session.service.pool, id)
        raise
    try:
        known_fields(form.fields, UploadForm)
        command = _registration(session.caller.account_id, form, place, repeatable=key is not None)
        session = await once(request, command.request_hash.encode())
        await admit_bytes(session, id, command.bytes, "file")
    except BaseException as error:  # nothing names the bytes yet
        await store.delete(place)
        if not isinstance(error, Replayed):
            await release(session.service.pool, id)
        raise
    try:
        file = await register(session, id, command, certain=key is not None)
    except ApiError as error:
        if error.status < 500:  # refused; without an answer the command may still take
            await store.delete(place)
            await release(session.service.pool, id)
        raise
    if file.status == "deleted":
        message = f"file {id} was uploaded under this Idempotency-Key and deleted since; use another key"
        raise ApiError(400, "invalid_state_transition", message)
    return Response(file_view(file), status_code=201, headers={"location": f"/v1/files/{id}"})


def _registration(account_id: str, form: Upload, place: str, *, repeatable: bool) -> RegisterFile:
    """The command for an upload. Raises `ApiError`."""
    purpose, stored = form.fields.get("purpose", "fine-tune"), form.stored
    if purpose not in PURPOSES:
        raise invalid([RequestFault("purpose", f"purpose must be one of {', '.join(PURPOSES)}")])
    if stored.bytes == 0:
        raise invalid([RequestFault("file", "the file is empty", "file_empty")])
    request = hashlib.sha256(f"{form.filename}\0{purpose}\0{stored.sha256}".encode()).hexdigest()
    return RegisterFile(
        account_id,
        form.filename,
        purpose,
        stored.bytes,
        stored.sha256,
        place,
        request if repeatable else "",
    )


async def _result(session: Session, id: str) -> Any:
    return await session.service.pool.fetchrow(
        "SELECT * FROM result_files WHERE id = $1 AND account_id = $2", id, session.caller.account_id
    )


@get("/v1/files", operation_id="listFiles", scope="read")
async def list_files(
    session: Authenticated,
    limit: LargeLimit = 20,
    after: After = None,
    order: Annotated[Literal["asc", "desc"], QueryParameter(description="By time of upload.")] = "desc",
    purpose: Annotated[
        str | None, QueryParameter(max_length=64, pattern=NO_NUL, description="Only these.")
    ] = None,
) -> Page[FileObject]:
    """The account's uploaded files, newest first."""
    conditions = ["account_id = $1", "status <> 'deleted'"]
    arguments: list[Any] = [session.caller.account_id]
    if purpose is not None:
        arguments.append(purpose)
        conditions.append(f"purpose = ${len(arguments)}")
    if after is not None:
        last = await session.service.pool.fetchval(
            "SELECT created_at FROM files WHERE id = $1 AND account_id = $2",
            after,
            session.caller.account_id,
        )
        if last is None:
            raise invalid([RequestFault("after", f"there is no file {after!r} to go on behind")])
        arguments += [last, after]
        sign = "<" if order == "desc" else ">"
        conditions.append(f"(created_at, id) {sign} (${len(arguments) - 1}, ${len(arguments)})")
    rows = await session.service.pool.fetch(
        f"SELECT state FROM files WHERE {' AND '.join(conditions)} "
        f"ORDER BY created_at {order}, id {order} LIMIT {limit + 1}",
        *arguments,
    )
    return page([file_view(msgspec.json.decode(row["state"], type=File)) for row in rows], limit)


@get("/v1/files/{id:str}", operation_id="getFile", scope="read")
async def retrieve(session: Authenticated, id: FromPath[str]) -> FileObject:
    """One file, uploaded or made by a tuning."""
    if (result := await _result(session, id)) is not None:
        return result_file_view(result)
    return file_view(await the_file(session, id))


@get("/v1/files/{id:str}/check", operation_id="getFileCheck", scope="read")
async def check(
    session: Authenticated,
    id: FromPath[str],
    limit: Annotated[
        int, QueryParameter(ge=1, le=1000, description="How many faults, and how many warnings, at most.")
    ] = 1000,
    after: Annotated[
        int,
        QueryParameter(ge=0, le=2**53, description="Pass over so many faults, and so many warnings."),
    ] = 0,
) -> FileCheck:
    """What the check of the file found, page by page, and its statistics.

    While `has_more`, ask again with `after` raised by `limit`.
    """
    return await file_check(session.service.store, await the_file(session, id), after, limit)


@get(
    "/v1/files/{id:str}/content",
    operation_id="getFileContent",
    answer_headers=("content-disposition",),
    scope="read",
    audit=True,
    media_type="application/octet-stream",
)
async def content(session: Authenticated, id: FromPath[str]) -> Download:
    """The file's bytes."""
    if (result := await _result(session, id)) is not None:
        key, name, size = result["key"], result["name"].replace("/", "-"), result["bytes"]
    else:
        file = await the_file(session, id)
        key, name, size = file.key, file.filename, file.bytes
    stream = session.service.store.stream(key)
    try:
        first = await anext(stream, b"")
    except ObjectMissing as error:
        raise ApiError(404, "content_gone", f"the bytes of {id} are gone", "id") from error

    async def chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in stream:
            yield chunk

    return Download(session, chunks(), name=name, size=size, media_type="application/octet-stream")


@delete("/v1/files/{id:str}", status_code=200, operation_id="deleteFile", scope="write")
async def remove(session: Authenticated, id: FromPath[str]) -> Deleted:
    """Take a file out of use; running tunings keep what they read."""
    if await _result(session, id) is not None:
        raise ApiError(400, "file_in_use", f"{id} belongs to a tuning and goes with it", "id")
    await the_file(session, id)
    await decided(session, FILES, id, DeleteFile(), certain=True)
    return Deleted(id, "file")


ROUTES = [upload, list_files, retrieve, check, content, remove]
