"""A tuning's files measured for its model, by a process of its own, in bounded memory and time."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from app.api.errors import ApiError, unavailable
from app.api.service import Service
from app.catalogue.at_hand import ensure_tokenizer
from app.catalogue.catalogue import CATALOGUE, Entry
from app.catalogue.files import ModelError
from app.catalogue.hub import access_of
from app.datasets.children import ran
from app.datasets.measure import FINDINGS_KEPT, Measure, Request
from app.datasets.reading import Part
from app.datasets.sources import GZIP
from app.domain.tunings import CreateTuning, FileRef
from app.storage.store import ObjectMissing

TURN_WITHIN = 10.0
MODEL_WITHIN = 20.0
MEASURED_WITHIN = 10.0  # no further row after that
KILLED_AFTER = 15.0  # on top: imports, and the row under way
LARGEST_COPY = 256 * 1024**2

logger = structlog.get_logger("api")


class Asked(Struct, frozen=True):
    """Which rows of the training file to show: these lines, or the first ones; which findings to tell."""

    lines: tuple[int, ...] = ()
    first: int = 0
    skipped: int = 0
    kept: int = FINDINGS_KEPT


async def measured(service: Service, command: CreateTuning, asked: Asked) -> Measure:
    """The files of a tuning as its model would read them. Raises `ApiError`."""
    folder = await _model_dir(service, entry_of(command))
    try:
        async with asyncio.timeout(TURN_WITHIN):
            await service.measuring.turns.acquire()
    except TimeoutError as error:
        raise unavailable("too many files are being measured just now; try again shortly") from error
    try:
        with tempfile.TemporaryDirectory(prefix="tunesmith-measure-") as name:
            return await _measured(service, command, asked, folder, Path(name))
    finally:
        service.measuring.turns.release()


def entry_of(command: CreateTuning) -> Entry:
    """The model's entry in the catalogue. Raises `ApiError`."""
    entry = CATALOGUE.get(command.model.id)
    if entry is None or entry.revision != command.model.revision:
        raise unavailable(f"this server does not have the files of {command.model.id}; ask the operator")
    return entry


async def _model_dir(service: Service, entry: Entry) -> Path:
    """The model's folder; made once, while nobody waits for it longer than they should."""
    access = access_of(service.settings)
    make = partial(
        asyncio.to_thread, ensure_tokenizer, service.settings.cache_dir, entry, lambda _: None, access
    )
    try:
        async with asyncio.timeout(MODEL_WITHIN):
            return await service.measuring.models.get(entry.id, make)
    except TimeoutError as error:
        raise unavailable(f"the files of {entry.id} are being prepared; try again in a minute") from error
    except ModelError as error:
        logger.warning("model_not_at_hand", model=entry.id, error=str(error))
        raise unavailable(f"the files of {entry.id} are not at hand: {error}") from error


async def _measured(
    service: Service, command: CreateTuning, asked: Asked, model: Path, folder: Path
) -> Measure:
    training = folder / "training.jsonl"
    parts: list[Part] = []
    if not await _copied(service, command.training_file, training, "training_file"):
        parts.append("training_file")
    validation = folder / "validation.jsonl" if command.validation_file else None
    checked = command.validation_file
    if checked and validation and not await _copied(service, checked, validation, "validation_file"):
        parts.append("validation_file")
    hyper = command.hyperparameters
    request = Request(
        model_dir=str(model),
        training_file=str(training),
        validation_file=str(validation) if validation else None,
        parts=tuple(parts),
        max_length=hyper.max_length,
        train_on=hyper.train_on,
        seconds=MEASURED_WITHIN,
        lines=asked.lines,
        first=asked.first,
        skipped=asked.skipped,
        kept=asked.kept,
    )
    try:
        ended = await ran(
            "app.datasets.measure", given=msgspec.json.encode(request), within=MEASURED_WITHIN + KILLED_AFTER
        )
    except TimeoutError as error:
        raise unavailable("the files could not be measured in time; try again, or split them") from error
    if ended.status == 0:
        return msgspec.json.decode(ended.written, type=Measure)
    logger.error("measuring_broke", model=command.model.id, status=ended.status, error=ended.said)
    if ended.status == 2:
        raise unavailable(f"{command.model.id} cannot be used for measuring: {ended.said}")
    raise unavailable("the files could not be measured; split them, or ask the operator")


async def _copied(service: Service, file: FileRef, path: Path, param: str) -> bool:
    """Copy a file, or its beginning when it is very large; whether it is whole. Raises `ApiError`."""
    size = 0
    try:
        with path.open("wb") as out:
            async for chunk in service.store.stream(file.key):
                size += out.write(chunk[: LARGEST_COPY - size])
                if size >= LARGEST_COPY:
                    break
    except ObjectMissing as error:
        message = f"the bytes of {file.id} are gone; upload the file again"
        raise ApiError(400, "file_gone", message, param) from error
    except OSError as error:
        raise unavailable(f"there is no room here to measure {file.id}: {error.strerror}") from error
    if size < file.bytes:
        _drop_last_line(path)
    return size >= file.bytes


def _drop_last_line(path: Path) -> None:
    """What was broken off in the middle is no row; of a packed file, `measure` knows itself."""
    with path.open("rb+") as file:
        if file.read(len(GZIP)) == GZIP:
            return
        end = file.seek(0, 2)
        while end > 0:
            start = max(0, end - 1024**2)
            file.seek(start)
            if (at := file.read(end - start).rfind(b"\n")) >= 0:
                file.truncate(start + at + 1)
                return
            end = start
        file.truncate(0)
