"""Checkpoints on their way: into the store behind the training's back, and out of it for the next attempt."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import structlog

from app.domain.tunings import Attempt, Checkpoint, ReportCheckpoint, Tuning
from app.storage.keys import MANIFEST, checkpoint_of, checkpoint_place, tuning_place
from app.storage.store import ObjectMissing, StorageError, Store
from app.trainer_worker.reports import Reports
from app.trainer_worker.training import checkpoints
from app.trainer_worker.training.checkpoints import NoCheckpoint, Written

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0

logger = structlog.get_logger("trainer_worker")


class Uploads:
    """Brings an attempt's checkpoints into the store and tells of them, the newest first and none twice.

    A store that fails is tried again, with the newest that there is by then. Those that a newer one overtook
    are left out. `folder` is a place of its own, so that the child may remove what it wrote.
    """

    def __init__(
        self, tuning_id: str, attempt: Attempt, folder: Path, store: Store, reports: Reports
    ) -> None:
        self._tuning_id, self._attempt, self._folder = tuning_id, attempt, folder
        self._store, self._reports = store, reports
        self._newest: Path | None = None
        self._offered = ""
        self._changed, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._log = logger.bind(job_id=tuning_id, attempt=attempt.number)

    def offer(self, written: Path) -> None:
        """Take a checkpoint that the child has written."""
        if written.name <= self._offered:
            return
        place = self._folder / written.name
        try:
            place.mkdir(parents=True)
            for path in written.iterdir():
                os.link(path, place / path.name)
        except OSError as error:  # the child has a newer one already, or the disk is full
            self._log.warning("checkpoint_not_taken", checkpoint=written.name, error=str(error))
            shutil.rmtree(place, ignore_errors=True)
            return
        self._offered, self._newest = written.name, place
        self._idle.clear()
        self._changed.set()

    async def run(self) -> None:
        """Upload what is offered, for ever."""
        backoff = FIRST_BACKOFF
        while True:
            await self._changed.wait()
            self._changed.clear()
            if (place := self._newest) is None:
                self._idle.set()
                continue
            try:
                await self._upload(place)
            except StorageError as error:
                self._log.warning("checkpoint_upload_failed", checkpoint=place.name, error=str(error))
                await asyncio.sleep(backoff)
                backoff = min(LONGEST_BACKOFF, backoff * 2)
                self._changed.set()
                continue
            except (NoCheckpoint, OSError) as error:
                self._log.error("checkpoint_unreadable", checkpoint=place.name, error=str(error))
            backoff = FIRST_BACKOFF
            shutil.rmtree(place, ignore_errors=True)
            if self._newest == place:
                self._newest = None
            self._changed.set()

    async def settled(self) -> None:
        """Wait until everything that was offered is in the store and told of."""
        await self._idle.wait()

    async def _upload(self, place: Path) -> None:
        """Raises `StorageError`, `NoCheckpoint`, `OSError`."""
        written = await asyncio.to_thread(checkpoints.read, place)
        manifest = written.manifest
        key = checkpoint_place(self._tuning_id, self._attempt.number, place.name)
        for name in (*manifest.files, MANIFEST):  # the manifest last: before it there is no checkpoint
            stored = await self._store.put_file(f"{key}/{name}", place / name)
            if (back := await self._store.digest(f"{key}/{name}")) != stored:
                raise StorageError(f"{key}/{name} came back from the store as {back}, not {stored}")
        checkpoint = Checkpoint(
            manifest.step, manifest.epoch, manifest.batch, key, written.sha256, written.bytes
        )
        report = ReportCheckpoint(self._attempt.number, self._attempt.session, checkpoint)
        await self._reports.report(self._tuning_id, self._attempt, f"checkpoint-{place.name}", report)
        self._log.info("checkpoint_stored", step=manifest.step, bytes=written.bytes)


async def fetch_newest(tuning: Tuning, folder: Path, store: Store) -> Path | None:
    """The newest checkpoint of a tuning that is whole in the store, fetched into `folder`; None without any.

    That is the one it knows of or, if this is not there as it was, an older one. Raises `StorageError`.
    """
    known = tuning.checkpoint
    if known is None:
        return None
    log = logger.bind(job_id=tuning.id)
    try:
        return await _fetch(known.key, known.sha256, folder, store)
    except (ObjectMissing, NoCheckpoint) as error:
        log.warning("checkpoint_unusable", key=known.key, error=str(error))
    for key in await _older(tuning, known, store):
        try:
            return await _fetch(key, None, folder, store)
        except (ObjectMissing, NoCheckpoint) as error:
            log.warning("checkpoint_unusable", key=key, error=str(error))
    log.warning("training_begins_anew", why="no checkpoint is usable")
    return None


async def _older(tuning: Tuning, known: Checkpoint, store: Store) -> list[str]:
    """The places of checkpoints older than the known one, newest first.

    One that stands after more steps was written by an attempt that was not heard any more: it knows of epochs
    that the tuning does not know of.
    """
    limit = checkpoint_of(f"{known.key}/{MANIFEST}")
    if limit is None:
        return []
    found = {checkpoint_of(key) for key in await store.keys(tuning_place(tuning.id))}
    older = sorted((one for one in found if one is not None and one < limit), reverse=True)
    return [checkpoint_place(tuning.id, attempt, name) for attempt, name in older if name <= limit[1]]


async def _fetch(key: str, sha256: str | None, folder: Path, store: Store) -> Path:
    """Raises `ObjectMissing`, `NoCheckpoint`, `StorageError`."""
    place = folder / key.rpartition("/")[2]
    shutil.rmtree(place, ignore_errors=True)
    manifest = await store.get_file(f"{key}/{MANIFEST}", place / MANIFEST)
    if sha256 is not None and manifest.sha256 != sha256:
        raise NoCheckpoint("its manifest is another than was told of")
    for name, wanted in checkpoints.read_manifest((place / MANIFEST).read_bytes()).files.items():
        got = await store.get_file(f"{key}/{name}", place / name)
        if (got.bytes, got.sha256) != (wanted.bytes, wanted.sha256):
            raise NoCheckpoint(f"{name} has other bytes than were written")
    return place


def newest_written(base: Path) -> Written | None:
    """The newest whole checkpoint that a child left on this disk."""
    return checkpoints.newest(base, None, lambda folder, why: None)
