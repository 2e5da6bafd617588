"""Rows that a validation file has in common with the training file, from what their checks left."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from msgspec.structs import replace

from app.api.schemas.errors import RequestFault
from app.datasets.measure import Finding, Measure
from app.datasets.overlap import NoDigests, Overlap, overlap
from app.domain.tunings import FileRef
from app.storage.keys import digests_key
from app.storage.store import ObjectMissing, Store


async def overlap_of(store: Store, training: FileRef, validation: FileRef) -> Overlap | None:
    """How far two files overlap; None when one was checked before that was kept. Raises `StorageError`."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-overlap-") as folder:
        trained, validated = Path(folder) / "training", Path(folder) / "validation"
        try:
            await store.get_file(digests_key(training.id), trained)
            await store.get_file(digests_key(validation.id), validated)
            return await asyncio.to_thread(overlap, trained, validated)
        except (ObjectMissing, NoDigests):
            return None


def overlap_told(found: Overlap | None) -> RequestFault | None:
    """What is to be said of an overlap; none when there is none."""
    if found is None or not found.rows:
        return None
    shown = ", ".join(map(str, found.lines))
    more = ", …" if found.rows > len(found.lines) else ""
    many = "all" if is_total(found) else f"{found.rows} of"
    message = (
        f"{many} {found.validation_rows} rows of the validation file are in the training file as well "
        f"(lines {shown}{more}): their loss says nothing about rows that were not trained on; remove them"
    )
    return RequestFault("validation_file", message, "validation_overlap")


def noted(measure: Measure, found: Overlap | None) -> Measure:
    """A measure that tells of the overlap as well, first of all."""
    told = overlap_told(found)
    if told is None or found is None:
        return measure
    fix = "remove these rows from one of the two files"
    finding = Finding("validation_file", found.lines[0], told.code, told.message, fix, warning=True)
    return replace(
        measure, findings=(finding, *measure.findings), found=measure.found | {told.code: found.rows}
    )


def is_total(found: Overlap | None) -> bool:
    """Whether a validation file is worth nothing, for all of it is trained on."""
    return found is not None and found.rows == found.validation_rows > 0
