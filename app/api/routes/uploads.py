"""Uploads in parts, as OpenAI has them, and read back so that a client can go on where it broke off."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from litestar import Request, Response, get, post
from litestar.params import FromPath

from app.api import resumable
from app.api.errors import ApiError, invalid
from app.api.forms import known_fields
from app.api.idempotency import Replayed, idempotency_key, once
from app.api.requests import json_object, read_fields
from app.api.schemas.files import file_view
from app.api.schemas.form import PartForm
from app.api.schemas.uploads import (
    LARGEST_PART,
    CompleteRequest,
    UploadObject,
    UploadPart,
    UploadRequest,
    part_view,
    upload_view,
)
from app.api.session import Authenticated
from app.api.stored_files import find_file
from app.api.uploads import receive
from app.domain.ids import derive_id
from app.storage.keys import part_place


@post(
    "/v1/uploads",
    operation_id="createUpload",
    answer_headers=("location",),
    status_code=201,
    scope="write",
    body=UploadRequest,
)
async def create(request: Request[Any, Any, Any], session: Authenticated) -> Response[UploadObject]:
    """Announce a large file, to be sent in parts within 24 hours."""
    body, body_hash = await json_object(request)
    values, faults = read_fields(UploadRequest, body)
    if faults:
        raise invalid(faults)
    asked = UploadRequest(**values)
    upload = await resumable.announce(session, asked, body_hash, idempotency_key(request))
    view = upload_view(upload, await resumable.parts_of(session, upload["id"]))
    return Response(view, status_code=201, headers={"location": f"/v1/uploads/{view.id}"})


@post(
    "/v1/uploads/{id:str}/parts",
    operation_id="addUploadPart",
    status_code=201,
    scope="write",
    body=PartForm,
    audit=False,
)
async def add_part(request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]) -> UploadPart:
    """Send a part of at most 64 MiB, at any time and in any order; `complete` names the order."""
    upload = await resumable.the_upload(session, id)
    resumable.require_pending(upload)
    key = idempotency_key(request)
    part_id = derive_id("part", id, key) if key else derive_id("part", uuid4().hex)
    place, store = part_place(id, part_id, uuid4().hex), session.service.store
    form = await receive(request, store, place, LARGEST_PART, field="data")
    try:
        known_fields(form.fields, PartForm)
        await once(request, form.stored.sha256.encode())
        part = await resumable.add_part(
            session, upload, part_id, form.stored.bytes, form.stored.sha256, place
        )
    except (ApiError, Replayed):  # after any other error the part may have been noted all the same
        await store.delete(place)
        raise
    if part["key"] != place:  # sent before
        await store.delete(place)
    return part_view(part)


@post(
    "/v1/uploads/{id:str}/complete",
    operation_id="completeUpload",
    answer_headers=("location",),
    status_code=200,
    scope="write",
    body=CompleteRequest,
)
async def complete(
    request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]
) -> Response[UploadObject]:
    """Make the named parts, in their order, one file; asked again, the answer is the same file.

    The file is checked as any upload is; its `status` is `uploaded` when that takes longer than 10 s.
    """
    await resumable.the_upload(session, id)  # whoever may not see it hears nothing of its body's faults
    body, _ = await json_object(request)
    values, faults = read_fields(CompleteRequest, body)
    if faults:
        raise invalid(faults)
    upload, file = await resumable.complete(session, id, CompleteRequest(**values))
    view = upload_view(upload, [], file_view(file) if file else None)
    return Response(view, status_code=200, headers={"location": f"/v1/files/{upload['file_id']}"})


@post("/v1/uploads/{id:str}/cancel", operation_id="cancelUpload", status_code=200, scope="write")
async def cancel(session: Authenticated, id: FromPath[str]) -> UploadObject:
    """Give an upload up; its parts are freed."""
    return upload_view(await resumable.cancel(session, id), [])


@get("/v1/uploads/{id:str}", operation_id="getUpload", scope="read")
async def retrieve(session: Authenticated, id: FromPath[str]) -> UploadObject:
    """One upload with the parts that came in: send those that lack, and complete it."""
    upload = await resumable.the_upload(session, id)
    pending = upload["status"] == "pending"
    parts = await resumable.parts_of(session, id) if pending else []
    file = await find_file(session, upload["file_id"]) if upload["status"] == "completed" else None
    return upload_view(upload, parts, file_view(file) if file else None)


ROUTES = [create, add_part, complete, cancel, retrieve]
