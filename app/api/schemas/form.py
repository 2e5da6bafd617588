"""The form of an upload."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class UploadForm(Struct, frozen=True):
    """A file to upload, as multipart/form-data."""

    file: Annotated[str, Meta(description="The file.", extra_json_schema={"format": "binary"})]
    purpose: Annotated[str, Meta(description="`fine-tune` or `user_data`.")] = "fine-tune"
