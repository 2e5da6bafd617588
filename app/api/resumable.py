"""Uploads in parts: announced, their parts taken, put together into one file, or given up."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg

from app.api.checksums import compare_md5, compare_sha256
from app.api.errors import ApiError, invalid, missing
from app.api.limits import release
from app.api.room import admit_bytes
from app.api.schemas.errors import RequestFault
from app.api.schemas.uploads import LARGEST_PART, CompleteRequest, UploadRequest
from app.api.session import Session
from app.api.stored_files import find_file, register
from app.api.uploads import safe_name
from app.domain.files import File, RegisterFile
from app.domain.ids import derive_id
from app.storage.hashing import hashed
from app.storage.keys import file_place
from app.storage.store import ObjectMissing, StorageError, Store

KEPT_SECONDS = 24 * 3600

UPLOAD = """
SELECT id, account_id, request_hash, filename, purpose, mime_type, bytes, created_at, expires_at,
    part_ids, file_id, key, sha256,
    CASE WHEN status = 'pending' AND expires_at <= clock_timestamp() THEN 'expired' ELSE status END AS status
FROM ops.uploads WHERE id = $1 AND account_id = $2
"""
ANNOUNCE = """
INSERT INTO ops.uploads (
    id, account_id, request_hash, filename, purpose, mime_type, bytes, file_id, expires_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + make_interval(secs => $9))
ON CONFLICT (id) DO NOTHING
"""
PARTS = "SELECT * FROM ops.upload_parts WHERE upload_id = $1 ORDER BY created_at, id"
# A part that is sent again after a broken-off answer may be there twice.
ADD_PART = """
INSERT INTO ops.upload_parts (id, upload_id, bytes, sha256, key)
SELECT $1, u.id, $3::bigint, $4, $5 FROM (SELECT * FROM ops.uploads WHERE id = $2 FOR UPDATE) u
WHERE u.status = 'pending' AND u.expires_at > clock_timestamp()
AND 2 * u.bytes + $6::bigint >= $3::bigint + (
    SELECT coalesce(sum(bytes), 0) FROM ops.upload_parts WHERE upload_id = u.id
)
ON CONFLICT (id) DO NOTHING
RETURNING *
"""
COMPLETE = """
UPDATE ops.uploads SET status = 'completed', part_ids = $2, key = $3, sha256 = $4
WHERE id = $1 AND status = 'pending' AND expires_at > clock_timestamp()
"""
CANCEL = "UPDATE ops.uploads SET status = 'cancelled' WHERE id = $1 AND status = 'pending'"


async def announce(
    session: Session, asked: UploadRequest, request_hash: str, key: str | None
) -> asyncpg.Record:
    """Begin an upload; the same request with the same Idempotency-Key is the same one. Raises `ApiError`."""
    account_id = session.caller.account_id
    id = derive_id("upload", account_id, key) if key else derive_id("upload", uuid4().hex)
    file_id = derive_id("file", id)
    await admit_bytes(session, file_id, asked.bytes, "bytes")
    await session.service.pool.execute(
        ANNOUNCE,
        id,
        account_id,
        request_hash,
        safe_name(asked.filename),
        asked.purpose,
        asked.mime_type,
        asked.bytes,
        file_id,
        KEPT_SECONDS,
    )
    upload = await the_upload(session, id)
    if upload["request_hash"] != request_hash:
        raise _conflict()
    return upload


async def the_upload(session: Session, id: str) -> asyncpg.Record:
    """The account's upload with this id. Raises `ApiError` 404."""
    row = await session.service.pool.fetchrow(UPLOAD, id, session.caller.account_id)
    if row is None:
        raise missing("upload", id)
    return row


async def parts_of(session: Session, id: str) -> list[asyncpg.Record]:
    """The parts of an upload, oldest first."""
    return list(await session.service.pool.fetch(PARTS, id))


def require_pending(upload: asyncpg.Record) -> None:
    """Raises `ApiError` 400 when an upload has ended."""
    if upload["status"] != "pending":
        raise ApiError(400, "invalid_state_transition", f"upload {upload['id']} is {upload['status']}", "id")


async def add_part(
    session: Session, upload: asyncpg.Record, part_id: str, size: int, sha256: str, key: str
) -> asyncpg.Record:
    """Note a part whose bytes lie at `key`; a repeated one is the first. Raises `ApiError`."""
    pool = session.service.pool
    if size == 0:
        raise invalid([RequestFault("data", "the part is empty", "file_empty")])
    part = await pool.fetchrow(ADD_PART, part_id, upload["id"], size, sha256, key, LARGEST_PART)
    if part is not None:
        return part
    part = await pool.fetchrow("SELECT * FROM ops.upload_parts WHERE id = $1", part_id)
    if part is not None:
        if part["sha256"] != sha256:
            raise _conflict()
        return part
    require_pending(await the_upload(session, upload["id"]))
    raise ApiError(
        400, "upload_too_large", "the parts have more bytes together than the upload was to have", "data"
    )


async def cancel(session: Session, id: str) -> asyncpg.Record:
    """Give an upload up; one that is cancelled stays so. Raises `ApiError`."""
    await the_upload(session, id)
    await session.service.pool.execute(CANCEL, id)
    upload = await the_upload(session, id)
    await release(session.service.pool, upload["file_id"])
    if upload["status"] != "cancelled":
        require_pending(upload)
    return upload


async def complete(session: Session, id: str, asked: CompleteRequest) -> tuple[asyncpg.Record, File | None]:
    """Make the parts one file; asked again, also meanwhile, it is the same one. Raises `ApiError`."""
    upload = await the_upload(session, id)
    if upload["status"] == "pending":
        wanted = id, tuple(asked.part_ids), asked.md5, asked.sha256
        upload = await session.service.joining.get(wanted, partial(_put_together, session, upload, asked))
    if upload["status"] == "completed" and upload["part_ids"] != asked.part_ids:
        raise ApiError(
            400, "invalid_state_transition", f"upload {id} is completed, of other parts", "part_ids"
        )
    if upload["status"] != "completed":
        require_pending(upload)
    file = await find_file(session, upload["file_id"], deleted=True)
    if file is None or file.status == "uploaded":
        command = RegisterFile(
            upload["account_id"],
            upload["filename"],
            upload["purpose"],
            upload["bytes"],
            upload["sha256"],
            upload["key"],
            hashlib.sha256(f"{id}\0{upload['sha256']}".encode()).hexdigest(),
        )
        file = await register(session, upload["file_id"], command, certain=True)
    return upload, file if file.status != "deleted" else None


async def _put_together(session: Session, upload: asyncpg.Record, asked: CompleteRequest) -> asyncpg.Record:
    """Store the parts as one object and end the upload with it, unless somebody else was first."""
    id, store = upload["id"], session.service.store
    parts = _in_order(asked.part_ids, await parts_of(session, id))
    size = sum(part["bytes"] for part in parts)
    if size != upload["bytes"]:
        message = f"the parts have {size} bytes together, not {upload['bytes']} as the upload was to have"
        raise ApiError(400, "upload_incomplete", message, "part_ids")
    await admit_bytes(session, upload["file_id"], size, "part_ids")
    place = file_place(upload["file_id"], uuid4().hex)
    md5 = [hashlib.md5(usedforsecurity=False)] if asked.md5 is not None else []
    try:
        stored = await store.put(place, _joined(store, parts, *md5))
        compare_sha256(stored.sha256, ("sha256", asked.sha256))
        for digest in md5:
            compare_md5(digest.hexdigest(), asked.md5)
        done = await session.service.pool.execute(COMPLETE, id, asked.part_ids, place, stored.sha256)
    except ObjectMissing:  # the parts were freed, for the upload has ended
        done = ""
    except ApiError:
        await store.delete(place)
        raise
    if done != "UPDATE 1":
        await store.delete(place)
    ended = await the_upload(session, id)
    if ended["status"] == "pending":
        raise ApiError(400, "part_gone", "the bytes of a part are gone; upload the file anew", "part_ids")
    return ended


def _in_order(ids: Sequence[str], parts: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    known = {part["id"]: part for part in parts}
    faults = [
        RequestFault("part_ids", f"the upload has no part {id!r}", "part_not_found")
        for id in ids
        if id not in known
    ]
    if len(set(ids)) != len(ids):
        faults.append(RequestFault("part_ids", "a part is named more than once"))
    if faults:
        raise invalid(faults[:20])
    return [known[id] for id in ids]


async def _joined(store: Store, parts: Sequence[asyncpg.Record], *whole: Any) -> AsyncIterator[bytes]:
    """The bytes of all parts, each held against its digest; those in `whole` take all of them."""
    for part in parts:
        digest = hashlib.sha256()
        async for chunk in store.stream(part["key"]):
            await hashed(chunk, digest, *whole)
            yield chunk
        if digest.hexdigest() != part["sha256"]:
            raise StorageError(f"{part['key']} came back from the store with other bytes")


def _conflict() -> ApiError:
    message = "this Idempotency-Key was used before, for another request"
    return ApiError(409, "idempotency_conflict", message, headers={"x-should-retry": "false"})
