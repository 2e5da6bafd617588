"""Where in the store the things of a file lie."""

from __future__ import annotations

from pathlib import PurePosixPath

FILES = "files"
UPLOADS = "uploads"
TUNINGS = "tunings"
CHECKPOINTS = "checkpoints"
MANIFEST = "manifest.json"  # of a checkpoint's files the last to come and the first to go


def file_place(id: str, copy: str) -> str:
    """One upload's bytes; `copy` tells it from other uploads of the same file."""
    return f"{FILES}/{id}/{copy}"


def part_place(upload_id: str, part_id: str, copy: str) -> str:
    """One part of a resumable upload."""
    return f"{UPLOADS}/{upload_id}/{part_id}/{copy}"


def tuning_place(id: str) -> str:
    """Everything that a tuning's attempts made."""
    return f"{TUNINGS}/{id}/"


def checkpoint_place(tuning_id: str, attempt: int, name: str) -> str:
    """A checkpoint's files; those of an attempt are in the order of their names."""
    return f"{tuning_place(tuning_id)}{attempt}/{CHECKPOINTS}/{name}"


def checkpoint_of(key: str) -> tuple[int, str] | None:
    """The attempt and the name of the checkpoint that a file is of; None when it is of something else.

    The greater of two is the newer.
    """
    match PurePosixPath(key).parts:
        case (folder, _, attempt, place, name, _) if (folder, place) == (TUNINGS, CHECKPOINTS):
            return (int(attempt), name) if attempt.isdecimal() else None
    return None


def owner_of(key: str) -> str | None:
    """The id of the file or upload whose bytes lie at `key`; None when it holds something else."""
    parts = PurePosixPath(key).parts
    return parts[1] if len(parts) > 2 else None


def checked_in(key: str) -> str | None:
    """The id of the file that a check found something of at `key`; None when that holds something else."""
    folder, *name = PurePosixPath(key).parts
    id = name[0].partition(".")[0] if len(name) == 1 else ""
    return id if folder == FILES and key in found_keys(id) else None


def check_key(id: str) -> str:
    """The report of a file's check."""
    return f"{FILES}/{id}.check.json"


def faults_key(id: str) -> str:
    """All faults that the check found, when the report has not all of them."""
    return f"{FILES}/{id}.faults.jsonl"


def warnings_key(id: str) -> str:
    """All warnings, likewise."""
    return f"{FILES}/{id}.warnings.jsonl"


def digests_key(id: str) -> str:
    """The digests of a sound file's rows."""
    return f"{FILES}/{id}.rows.digests"


def found_keys(id: str) -> tuple[str, ...]:
    """Everything that the check of a file leaves in the store."""
    return (check_key(id), faults_key(id), warnings_key(id), digests_key(id))
