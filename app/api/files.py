"""The files: uploaded, listed, read, deleted; those that tunings made among them."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import uuid4

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath
from litestar.response import Stream

from app.api.decisions import decided, idempotency_key
from app.api.errors import ApiError, Fault, invalid, missing
from app.api.requests import page_of
from app.api.session import Session, opened
from app.api.uploads import Upload, receive
from app.api.views import file_view, page, result_file_view
from app.domain.files import FILES, DeleteFile, File, RegisterFile
from app.domain.ids import derive_id
from app.storage.store import ObjectMissing

CHECKED_WITHIN = 10.0
PURPOSES = ("fine-tune", "user_data")
CHECKED_VERSION = 2


def check_key(id: str) -> str:
    """Where the report of a file's check is in the store."""
    return f"files/{id}.check.json"


@post("/v1/files", operation_id="uploadFile", status_code=201)
async def upload(request: Request[Any, Any, Any]) -> Response[Any]:
    """Upload a file and have it checked; `status` is `uploaded` when the check takes longer than 10 s."""
    session = await opened(request, "write")
    key = idempotency_key(request)
    id = derive_id("file", session.caller.account_id, key) if key else derive_id("file", uuid4().hex)
    store = session.service.store
    # A place of its own: a repeat of the same request, even one under way, never touches another's bytes.
    place = f"files/{id}/{uuid4().hex}"
    form = await receive(request, store, place, session.service.settings.upload_limit_bytes)
    commands = session.service.commands
    watch = commands.watch(id)
    try:
        command = _registration(session.caller.account_id, form, place, repeatable=key is not None)
        reply, _ = await decided(session, FILES, id, command, certain=key is not None)
        file = msgspec.json.decode(reply.state, type=File)
        if file.key != place:
            await store.delete(place)  # uploaded before
        if file.status == "uploaded" and await commands.visible(id, CHECKED_VERSION, watch, CHECKED_WITHIN):
            file = await _file(session, id)
    except ApiError as error:
        if error.status < 500:  # refused; without an answer the command may still take
            await store.delete(place)
        raise
    finally:
        commands.unwatch(id, watch)
    return Response(file_view(file), status_code=201, headers={"location": f"/v1/files/{id}"})


def _registration(account_id: str, form: Upload, place: str, *, repeatable: bool) -> RegisterFile:
    """The command for an upload. Raises `ApiError`."""
    purpose, stored = form.fields.get("purpose", "fine-tune"), form.stored
    if purpose not in PURPOSES:
        raise invalid([Fault("purpose", f"purpose must be one of {', '.join(PURPOSES)}")])
    if stored.bytes == 0:
        raise invalid([Fault("file", "the file is empty", "file_empty")])
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


async def _file(session: Session, id: str) -> File:
    row = await session.service.pool.fetchrow(
        "SELECT state FROM files WHERE id = $1 AND account_id = $2 AND status <> 'deleted'",
        id,
        session.caller.account_id,
    )
    if row is None:
        raise missing("file", id)
    return msgspec.json.decode(row["state"], type=File)


async def _result(session: Session, id: str) -> Any:
    return await session.service.pool.fetchrow(
        "SELECT * FROM result_files WHERE id = $1 AND account_id = $2", id, session.caller.account_id
    )


@get("/v1/files", operation_id="listFiles")
async def list_files(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The account's uploaded files, newest first; `order=asc` turns it round, `purpose` narrows it."""
    session = await opened(request, "read")
    wanted = page_of(request.query_params, largest=10_000)
    order = request.query_params.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid([Fault("order", "order must be asc or desc")])
    conditions = ["account_id = $1", "status <> 'deleted'"]
    arguments: list[Any] = [session.caller.account_id]
    if (purpose := request.query_params.get("purpose")) is not None:
        arguments.append(purpose)
        conditions.append(f"purpose = ${len(arguments)}")
    if wanted.after is not None:
        last = await session.service.pool.fetchval(
            "SELECT created_at FROM files WHERE id = $1 AND account_id = $2",
            wanted.after,
            session.caller.account_id,
        )
        if last is None:
            raise invalid([Fault("after", f"there is no file {wanted.after!r} to go on behind")])
        arguments += [last, wanted.after]
        sign = "<" if order == "desc" else ">"
        conditions.append(f"(created_at, id) {sign} (${len(arguments) - 1}, ${len(arguments)})")
    rows = await session.service.pool.fetch(
        f"SELECT state FROM files WHERE {' AND '.join(conditions)} "
        f"ORDER BY created_at {order}, id {order} LIMIT {wanted.limit + 1}",
        *arguments,
    )
    return page([file_view(msgspec.json.decode(row["state"], type=File)) for row in rows], wanted.limit)


@get("/v1/files/{id:str}", operation_id="getFile")
async def retrieve(request: Request[Any, Any, Any], id: FromPath[str]) -> dict[str, Any]:
    """One file, uploaded or made by a tuning."""
    session = await opened(request, "read")
    if (result := await _result(session, id)) is not None:
        return result_file_view(result)
    return file_view(await _file(session, id))


@get("/v1/files/{id:str}/check", operation_id="getFileCheck")
async def check(request: Request[Any, Any, Any], id: FromPath[str]) -> dict[str, Any]:
    """Every fault that the check of the file found, and its statistics."""
    session = await opened(request, "read")
    file = await _file(session, id)
    report: dict[str, Any] = {"faults": [], "statistics": None}
    if file.status != "uploaded":
        try:
            report = msgspec.json.decode(await session.service.store.get_bytes(check_key(id)))
        except ObjectMissing:
            report["faults"] = [file.first_fault] if file.first_fault else []
    return {"object": "file.check", "id": id, "status": file.status, "fault_count": file.fault_count} | report


@get("/v1/files/{id:str}/content", operation_id="getFileContent")
async def content(request: Request[Any, Any, Any], id: FromPath[str]) -> Stream:
    """The file's bytes."""
    session = await opened(request, "read")
    if (result := await _result(session, id)) is not None:
        key, name, size = result["key"], result["name"].replace("/", "-"), result["bytes"]
    else:
        file = await _file(session, id)
        key, name, size = file.key, file.filename, file.bytes
    stream = session.service.store.stream(key)
    try:
        first = await anext(stream, b"")
    except ObjectMissing as error:
        raise ApiError(404, "content_gone", f"the bytes of {id} are gone", "id") from error

    async def chunks() -> Any:
        yield first
        async for chunk in stream:
            yield chunk

    label = name.encode("ascii", "replace").decode().replace('"', "'")
    return Stream(
        chunks(),
        media_type="application/octet-stream",
        headers={"content-length": str(size), "content-disposition": f'attachment; filename="{label}"'},
    )


@delete("/v1/files/{id:str}", status_code=200, operation_id="deleteFile")
async def remove(request: Request[Any, Any, Any], id: FromPath[str]) -> dict[str, Any]:
    """Take a file out of use; running tunings keep what they read."""
    session = await opened(request, "write")
    if await _result(session, id) is not None:
        raise ApiError(400, "file_in_use", f"{id} belongs to a tuning and goes with it", "id")
    await _file(session, id)
    await decided(session, FILES, id, DeleteFile(), certain=True)
    return {"id": id, "object": "file", "deleted": True}


ROUTES = [upload, list_files, retrieve, check, content, remove]
