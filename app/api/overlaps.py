"""Rows that a validation file has in common with the training file, from what their checks left."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
import structlog

from app.api.errors import invalid, unavailable
from app.api.schemas.errors import RequestFault
from app.api.shared import Shared
from app.datasets.children import ran
from app.datasets.overlap import Overlap
from app.datasets.reading import Finding
from app.domain.tunings import FileRef
from app.storage.keys import digests_key
from app.storage.store import ObjectMissing, Store

TURN_WITHIN = 10.0
WAITED_SECONDS = 10.0
COUNTED_WITHIN = 900.0
LARGE_ROWS = 2_000_000
MOST_KNOWN = 1_000
LINES_NAMED = 10

logger = structlog.get_logger("api")


class Overlaps:
    """How far files overlap: counted once, for files never change, by one process at a time.

    Large pairs have a turn of their own: nobody's small one waits for them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Overlap | None] = {}
        self._counting = Shared[None]()
        self._small, self._large = asyncio.Semaphore(1), asyncio.Semaphore(1)

    async def of(self, training: FileRef, validation: FileRef | None) -> Overlap | None:
        """How far two files overlap; None when that is not known, or there is only one.

        Raises `ApiError` 400 when all of the validation file is trained on, 503 while that is being counted.
        """
        if validation is None:
            return None
        pair = training.id, validation.id
        if pair not in self._known:
            try:
                async with asyncio.timeout(WAITED_SECONDS):
                    await self._counting.get(pair, lambda: self._count(training, validation))
            except TimeoutError as error:
                raise unavailable("the two files are being compared; try again shortly") from error
        found = self._known.get(pair)
        if is_total(found) and (told := overlap_told(found)):
            raise invalid([told])
        return found

    async def close(self) -> None:
        """Break off what is being counted."""
        await self._counting.close()

    async def _count(self, training: FileRef, validation: FileRef) -> None:
        turn = self._large if training.rows + validation.rows > LARGE_ROWS else self._small
        try:
            async with asyncio.timeout(TURN_WITHIN):
                await turn.acquire()
        except TimeoutError as error:
            raise unavailable("too many files are being compared just now; try again shortly") from error
        try:
            async with asyncio.timeout(COUNTED_WITHIN):
                found = await _counted(self._store, training.id, validation.id)
        except TimeoutError:
            logger.warning("overlap_not_counted", training=training.id, validation=validation.id)
            found = None
        finally:
            turn.release()
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[training.id, validation.id] = found


async def _counted(store: Store, *files: str) -> Overlap | None:
    """The overlap of two files; None when one was checked before that was kept.

    Raises `StorageError`, and `ApiError` 503.
    """
    with tempfile.TemporaryDirectory(prefix="tunesmith-overlap-") as folder:
        paths = [Path(folder, name) for name in ("training", "validation")]
        try:
            for id, path in zip(files, paths, strict=True):
                await store.get_file(digests_key(id), path)
        except ObjectMissing:
            return None
        except OSError as error:
            raise unavailable(f"there is no room here to compare the files: {error.strerror}") from error
        ended = await ran("app.datasets.overlap", *map(str, paths), within=COUNTED_WITHIN)
    if ended.status:
        logger.error("comparing_broke", files=files, status=ended.status, error=ended.said)
        raise unavailable("the files could not be compared; ask the operator")
    return msgspec.json.decode(ended.written, type=Overlap | None)


def overlap_told(found: Overlap | None) -> RequestFault | None:
    """What is to be said of an overlap; none when there is none."""
    if found is None or not found.rows:
        return None
    shown = ", ".join(map(str, found.lines[:LINES_NAMED]))
    more = ", …" if found.rows > LINES_NAMED else ""
    many = "all" if is_total(found) else f"{found.rows} of"
    message = (
        f"{many} {found.validation_rows} rows of the validation file are in the training file as well "
        f"(lines {shown}{more}): their loss says nothing about rows that were not trained on; remove them"
    )
    return RequestFault("validation_file", message, "validation_overlap")


def overlap_findings(found: Overlap | None) -> list[Finding]:
    """A finding for each line of the validation file that is in the training file, up to a thousand."""
    if found is None:
        return []
    fix = "remove the row from one of the two files"
    said = (
        "the row is in the training file as well: its loss says nothing about rows that were not trained on"
    )
    lines = [said] * len(found.lines)
    if lines and found.rows > len(lines):
        lines[-1] = f"{said}; the lines of {found.rows - len(lines)} more such rows are not told"
    return [
        Finding("validation_file", line, "validation_overlap", message, fix, warning=True)
        for line, message in zip(found.lines, lines, strict=True)
    ]


def is_total(found: Overlap | None) -> bool:
    """Whether a validation file is worth nothing, for all of it is trained on."""
    return found is not None and found.rows == found.validation_rows > 0
