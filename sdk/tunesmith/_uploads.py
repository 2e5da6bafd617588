"""Uploads in parts, as the service tells of them. Times are Unix seconds."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from tunesmith._exceptions import APIError, InvalidRequestError
from tunesmith._models import File
from tunesmith._resource import Nested, Resource
from tunesmith._source import CHUNK, Hash, Source, Window, digest_of

LARGEST_IN_ONE_PIECE = 64 * 1024**2
"""Bytes; what is larger goes up in parts."""

PART_SIZE = 16 * 1024**2
"""Bytes of a part: what a connection that breaks costs at most. The service takes up to 64 MB."""


class UploadPart(Resource):
    """One part of an upload."""

    id: str
    object: str
    created_at: int | None
    upload_id: str | None
    bytes: int | None
    sha256: str | None

    _shown = ("id", "bytes")


class Upload(Resource):
    """A file that comes in parts: `pending` until it is `completed`, `cancelled` or `expired`.

    `file` is there once it is completed. `parts` are those that have arrived, in the order of their arrival.
    """

    id: str
    object: str
    bytes: int
    created_at: int | None
    expires_at: int | None
    filename: str
    purpose: str
    mime_type: str | None
    status: str
    file: File | None
    parts: list[UploadPart] | None

    _nested: ClassVar[Nested] = {"file": File, "parts": UploadPart}
    _shown = ("id", "filename", "status")


def arrived(upload: Upload, size: int) -> list[UploadPart]:
    """The parts that the service has, in the order of the file.

    Raises `InvalidRequestError` when the upload cannot be gone on with, or is not of a file of this size.
    """
    if upload.status not in ("pending", "completed"):
        raise InvalidRequestError(f"upload {upload.id} is {upload.status}: upload the file anew")
    if upload.bytes != size:
        raise InvalidRequestError(
            f"upload {upload.id} is of a file of {upload.bytes} bytes, and this one has {size}: give the "
            "same file, or upload it anew"
        )
    return upload.parts or []


def compared(source: Source, upload: Upload, parts: list[UploadPart]) -> tuple[Hash, int]:
    """The digest of what the service has, computed here, and how many bytes that is: where to go on.

    Raises `InvalidRequestError` when a part is not of this file.
    """
    digest: Hash = hashlib.sha256()
    offset = 0
    if upload.status == "completed":
        return digest_of(source, source.size), source.size
    for part in parts:
        window = Window(source, offset, part.bytes or 0, digest)
        own = hashlib.sha256()
        while chunk := window.read(CHUNK):
            own.update(chunk)
        if part.sha256 is not None and part.sha256 != own.hexdigest():
            raise InvalidRequestError(
                f"upload {upload.id} is of another file: its part {part.id} is not what lies at byte "
                f"{offset:,} of this one; give the same file, or upload it anew"
            )
        digest, offset = window.digest, offset + window.length
    return digest, offset


def verified(file: File, sha256: str) -> File:
    """The file, if the service holds the very bytes that were sent. Raises `APIError` when it does not."""
    if file.sha256 is not None and file.sha256 != sha256:
        raise APIError(
            f"{file.id} is not what was sent: its sha256 is {file.sha256}, that of the file here {sha256}; "
            "delete it, and upload the file anew"
        )
    return file
