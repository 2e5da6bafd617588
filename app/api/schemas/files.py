"""How files look from outside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.api.schemas.pages import seconds
from app.datasets.statistics import Statistics
from app.domain.files import Fault, File


class FileObject(Struct, frozen=True, kw_only=True):
    """A file, uploaded or made by a tuning."""

    id: Annotated[str, Meta(description="Its id, `file-…`.")]
    object: Literal["file"] = "file"
    bytes: Annotated[int, Meta(description="Its size.")]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    filename: Annotated[str, Meta(description="A label, as it was given.")]
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
    sha256: Annotated[str, Meta(description="SHA-256 of its bytes, in hex.")]
    rows: Annotated[int | None, Meta(description="Rows without a fault, once it is checked.")] = None
    format: Annotated[str | None, Meta(description="What kind of rows it has, once it is checked.")] = None
    fault_count: Annotated[int, Meta(description="How many faults the check found.")] = 0


class FileCheck(Struct, frozen=True, kw_only=True):
    """What the check of a file found: a page of its faults and warnings, and statistics of its rows."""

    object: Literal["file.check"] = "file.check"
    id: Annotated[str, Meta(description="Id of the file.")]
    status: Annotated[
        Literal["uploaded", "processed", "error"],
        Meta(description="`uploaded` until it is checked, then `processed`, or `error` when it has faults."),
    ]
    format: Annotated[
        str | None,
        Meta(
            description="What kind of rows it has: `chat`, `prompt_completion`, `preference` or `text`; "
            "null until it is checked."
        ),
    ] = None
    rows: Annotated[int, Meta(description="Rows without a fault.")] = 0
    sha256: Annotated[str, Meta(description="SHA-256 of the file's bytes, in hex.")]
    fault_count: Annotated[int, Meta(description="How many faults there are.")]
    faults: Annotated[
        tuple[Fault, ...],
        Meta(description="A page of them, in the order of lines. With one, the file cannot be trained on."),
    ] = ()
    warning_count: Annotated[int, Meta(description="How many warnings there are.")] = 0
    warnings: Annotated[tuple[Fault, ...], Meta(description="A page of them. They stop nothing.")] = ()
    has_more: Annotated[bool, Meta(description="Whether faults or warnings follow these.")] = False
    statistics: Annotated[
        Statistics | None, Meta(description="Counts over the rows; null until the file is checked.")
    ] = None


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
