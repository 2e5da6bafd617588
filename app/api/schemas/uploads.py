"""How uploads in parts look from outside: OpenAI's, with the parts so that a client can go on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.api.schemas.files import FileObject
from app.api.schemas.pages import seconds

LARGEST_PART = 64 * 1024**2
MOST_PARTS = 10_000
NO_NUL = r"^[^\x00]*$"

PartId = Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_NUL)]
Md5 = Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")]
UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


class UploadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """An upload in parts, announced."""

    filename: Annotated[str, Meta(min_length=1, max_length=1024, description="A label, never a path.")]
    bytes: Annotated[int, Meta(ge=1, description="How many bytes all parts have together.")]
    purpose: Annotated[
        Literal["fine-tune", "user_data"],
        Meta(description="`fine-tune` to train on it, `user_data` only to keep it."),
    ] = "fine-tune"
    mime_type: Annotated[
        str,
        Meta(max_length=255, pattern=NO_NUL, description="Told back; what the file is shows in its bytes."),
    ] = "application/jsonl"


class CompleteRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The parts that make the file, in this order."""

    part_ids: Annotated[
        list[PartId], Meta(min_length=1, max_length=MOST_PARTS, description="Ids of parts, in their order.")
    ]
    md5: Annotated[Md5 | None, Meta(description="MD5 of the whole, in hex.")] = None
    sha256: Annotated[Sha256 | None, Meta(description="SHA-256 of the whole, in hex.")] = None


class UploadPart(Struct, frozen=True, kw_only=True):
    """A part that came in whole."""

    id: Annotated[str, Meta(description="Its id, `part-…`.")]
    object: Literal["upload.part"] = "upload.part"
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    upload_id: Annotated[str, Meta(description="Id of the upload that it belongs to.")]
    bytes: Annotated[int, Meta(description="Its size.")]
    sha256: Annotated[str, Meta(description="SHA-256 of its bytes, in hex.")]


class UploadObject(Struct, frozen=True, kw_only=True):
    """An upload in parts."""

    id: Annotated[str, Meta(description="Its id, `upload-…`.")]
    object: Literal["upload"] = "upload"
    bytes: Annotated[int, Meta(description="How many bytes all parts have together.")]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    expires_at: Annotated[int | None, Meta(description="Unix seconds; complete it before.")]
    filename: Annotated[str, Meta(description="A label, as it was given.")]
    purpose: Annotated[str, Meta(description="What the file is for.")]
    mime_type: Annotated[str, Meta(description="As it was given.")]
    status: Annotated[
        UploadStatus, Meta(description="`pending` until it is completed or cancelled, or expires.")
    ]
    file: Annotated[FileObject | None, Meta(description="Once it is completed, unless it was deleted.")] = (
        None
    )
    parts: Annotated[
        tuple[UploadPart, ...], Meta(description="Parts that came in, oldest first, until the upload ended.")
    ] = ()


def part_view(row: Any) -> UploadPart:
    """A part, from its row."""
    return UploadPart(
        id=row["id"],
        created_at=seconds(row["created_at"]),
        upload_id=row["upload_id"],
        bytes=row["bytes"],
        sha256=row["sha256"],
    )


def upload_view(row: Any, parts: list[Any], file: FileObject | None = None) -> UploadObject:
    """An upload, from its row and those of its parts."""
    return UploadObject(
        id=row["id"],
        bytes=row["bytes"],
        created_at=seconds(row["created_at"]),
        expires_at=seconds(row["expires_at"]),
        filename=row["filename"],
        purpose=row["purpose"],
        mime_type=row["mime_type"],
        status=row["status"],
        file=file,
        parts=tuple(part_view(part) for part in parts),
    )
