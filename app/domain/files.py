"""Uploaded files: the bytes lie in the object store, the events hold size, digest and the check's summary."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from app.domain.decider import Accepted, Context, Decider, Recorded, Rejection, not_found, wire_types

Status = Literal["uploaded", "processed", "error", "deleted"]


class Fault(Struct, frozen=True):
    """A fault of a file: the 1-based line, a stable code, a JSON pointer into the row, a sentence, a fix."""

    line: Annotated[int, Meta(description="The line, from 1; 0 for the file as a whole.")]
    code: Annotated[str, Meta(description="Stable; for programs. The errors reference explains each.")]
    pointer: Annotated[str, Meta(description="JSON pointer to the place in the row; empty for all of it.")]
    message: Annotated[str, Meta(description="What is wrong.")]
    fix: Annotated[str, Meta(description="What to do about it.")] = ""


class RegisterFile(Struct, frozen=True):
    """The bytes are in the store, at `key`. `request_hash` is the digest of the client's request, in hex."""

    account_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    key: str
    request_hash: str = ""


class RecordCheck(Struct, frozen=True):
    """What the check of the file's content found; `first_fault` is set when there is any.

    `longest_row` is about how many tokens its longest row has, whatever the model.
    """

    format: str | None
    rows: int
    fault_count: int
    first_fault: Fault | None = None
    longest_row: int = 0


class DeleteFile(Struct, frozen=True):
    """Take the file out of use; its bytes go once no job can read them any more."""


class Uploaded(Struct, frozen=True):
    """Since schema 2 each upload has a place of its own in the store, `key`."""

    SCHEMA: ClassVar[int] = 2

    account_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    key: str
    request_hash: str = ""


class Checked(Struct, frozen=True):
    """What the check of the content found; `first_fault` is set when there is any.

    `longest_row` is about how many tokens its longest row has, whatever the model; 0 when nobody counted.
    """

    format: str | None
    rows: int
    fault_count: int
    first_fault: Fault | None = None
    longest_row: int = 0


class Deleted(Struct, frozen=True):
    """Out of use; the bytes go once no job can read them any more."""


class File(Struct, frozen=True):
    """A file: `uploaded` until it is checked, then `processed` or `error`."""

    id: str
    account_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    key: str
    created_at: datetime
    request_hash: str = ""
    status: Status = "uploaded"
    format: str | None = None
    rows: int | None = None
    fault_count: int = 0
    first_fault: Fault | None = None
    longest_row: int = 0


def decide(file: File | None, command: Any, context: Context) -> Accepted | Rejection:
    """Events for a command, or why not."""
    match file, command:
        case None, RegisterFile():
            return Accepted((Uploaded(**msgspec.structs.asdict(command)),))
        case None, _:
            return not_found("file", context)
        case File(), RegisterFile():
            if (command.request_hash, command.sha256) == (file.request_hash, file.sha256):
                return Accepted()
            return Rejection(
                "idempotency_conflict", "this Idempotency-Key was used before, for another request"
            )
        case File(status="deleted"), DeleteFile():
            return Accepted()
        case File(status="deleted"), _:
            return Rejection("invalid_state_transition", f"file {file.id} is deleted")
        case File(), RecordCheck():
            if file.status != "uploaded":
                return Accepted()  # checked before: the same bytes, the same finding
            return Accepted((Checked(**msgspec.structs.asdict(command)),))
        case File(), DeleteFile():
            return Accepted((Deleted(),))
    raise TypeError(f"not a command of files: {command!r}")


def evolve(file: File | None, event: Any, recorded: Recorded) -> File:
    """The file after `event`."""
    if isinstance(event, Uploaded):
        return File(id=recorded.aggregate_id, created_at=recorded.at, **msgspec.structs.asdict(event))
    assert file is not None
    match event:
        case Checked():
            status: Status = "error" if event.fault_count else "processed"
            return msgspec.structs.replace(file, status=status, **msgspec.structs.asdict(event))
        case Deleted():
            return msgspec.structs.replace(file, status="deleted")
    raise TypeError(f"not an event of files: {event!r}")


FILES = Decider(
    stream="files",
    noun="file",
    state=File,
    commands=wire_types("file", RegisterFile, RecordCheck, DeleteFile),
    events=wire_types("file", Uploaded, Checked, Deleted),
    decide=decide,
    evolve=evolve,
)
