"""How files look from outside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.api.schemas.pages import seconds
from app.domain.files import Fault, File


class FileObject(Struct, frozen=True, kw_only=True):
    """A file, uploaded or made by a tuning."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    filename: str
    purpose: Annotated[
        str, Meta(description="`fine-tune` and `user_data` are uploads, `fine-tune-results` a tuning's.")
    ]
    status: Annotated[
        Literal["uploaded", "processed", "error"],
        Meta(description="`uploaded` until it is checked, then `processed`, or `error` when it has faults."),
    ]
    status_details: Annotated[
        str | None, Meta(description="The first fault and how many more there are.")
    ] = None
    sha256: str
    rows: Annotated[int | None, Meta(description="Rows without a fault, once it is checked.")] = None
    format: Annotated[str | None, Meta(description="What kind of rows it has, once it is checked.")] = None
    fault_count: int = 0


class FileCheck(Struct, frozen=True, kw_only=True):
    """What the check of a file found: a page of its faults and warnings, and statistics of its rows."""

    object: Literal["file.check"] = "file.check"
    id: str
    status: Literal["uploaded", "processed", "error"]
    format: str | None = None
    rows: int = 0
    sha256: str
    fault_count: int
    faults: tuple[Fault, ...] = ()
    warning_count: int = 0
    warnings: tuple[Fault, ...] = ()
    has_more: Annotated[bool, Meta(description="Whether faults or warnings follow these.")] = False
    statistics: dict[str, Any] | None = None


def file_view(file: File) -> FileObject:
    """The file object of an upload."""
    assert file.status != "deleted"
    return FileObject(
        id=file.id,
        bytes=file.bytes,
        created_at=seconds(file.created_at),
        filename=file.filename,
        purpose=file.purpose,
        status=file.status,
        status_details=_details(file.first_fault, file.fault_count),
        sha256=file.sha256,
        rows=file.rows,
        format=file.format,
        fault_count=file.fault_count,
    )


def _details(first: Fault | None, count: int) -> str | None:
    if first is None:
        return None
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"line {first.line}: {first.message}{more}"


def result_file_view(row: Any) -> FileObject:
    """A file that a tuning made, from its row."""
    return FileObject(
        id=row["id"],
        bytes=row["bytes"],
        created_at=seconds(row["created_at"]),
        filename=row["name"],
        purpose="fine-tune-results",
        status="processed",
        sha256=row["sha256"],
    )
