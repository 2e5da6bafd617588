"""The forms of uploads, as multipart/form-data."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.api.schemas.uploads import Sha256

Purpose = Literal["fine-tune", "user_data"]
Digest = Annotated[
    Sha256 | None,
    Meta(
        description="SHA-256 of the bytes in hex: others are refused. So it is with the headers "
        "`x-content-sha256`, the same, and `content-digest`, of the whole body (RFC 9530)."
    ),
]


class UploadForm(Struct, frozen=True):
    """A file to upload, as multipart/form-data."""

    file: Annotated[str, Meta(description="The file.", extra_json_schema={"format": "binary"})]
    purpose: Annotated[
        Purpose, Meta(description="`fine-tune` to train on it, `user_data` only to keep it.")
    ] = "fine-tune"
    sha256: Digest = None


class PartForm(Struct, frozen=True):
    """A part of an upload, as multipart/form-data."""

    data: Annotated[
        str, Meta(description="The part's bytes, at most 64 MiB.", extra_json_schema={"format": "binary"})
    ]
    sha256: Digest = None


FORMS = (UploadForm, PartForm)
