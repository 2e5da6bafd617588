"""Checkpoints brought into the store and fetched again: on a real store that fails, and comes back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.domain.tunings import TUNINGS, Attempt, Checkpoint, ReportCheckpoint, Tuning
from app.log import topics
from app.log.codec import read_command
from app.log.memory import MemoryLog
from app.log.port import read_all
from app.log.topics import declared
from app.storage.keys import MANIFEST
from app.storage.store import Store
from app.trainer_worker import checkpoints as ours
from app.trainer_worker.checkpoints import Uploads, fetch_newest
from app.trainer_worker.reports import Reports
from app.trainer_worker.training import checkpoints
from app.trainer_worker.training.checkpoints import Manifest, Written
from tests.contract.examples import CREATED

JOB = "job-1"
FIRST = Attempt(1, "worker-1", "session-1", 0)
TUNING = Tuning(
    id=JOB,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    **{name: getattr(CREATED, name) for name in CREATED.__struct_fields__},
)


def written(base: Path, step: int) -> Written:
    manifest = Manifest(run="r", step=step, epoch=0, batch=step)
    return checkpoints.write(base, manifest, {"weights.pt": lambda out: out.write(b"%d" % step * 1000)})


class Place:
    """A store and a log, and what a worker has told there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = folder / "objects"
        self.store = Store(f"file://{self.objects}")
        self.log = MemoryLog({topic.name: 1 for topic in declared("embedded")})

    @asynccontextmanager
    async def uploading(self, attempt: Attempt = FIRST) -> AsyncIterator[Uploads]:
        reports = Reports(self.log, attempt.worker)
        uploads = Uploads(JOB, attempt, self.folder / f"uploading-{attempt.number}", self.store, reports)
        running = asyncio.create_task(uploads.run())
        try:
            yield uploads
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await reports.close()

    async def told(self) -> list[Checkpoint]:
        records = [one async for one in read_all(self.log, topics.commands("tunings"))]
        bodies = [read_command(TUNINGS, record).body for record in records]
        assert all(isinstance(body, ReportCheckpoint) for body in bodies)
        return [body.checkpoint for body in bodies]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def stored(place: Place, *steps: int, attempt: Attempt = FIRST) -> list[Checkpoint]:
    async with place.uploading(attempt) as uploads:
        for step in steps:
            uploads.offer(written(place.folder / "local", step).folder)
            await uploads.settled()
    return await place.told()


async def test_what_was_stored_and_told_is_fetched_as_it_was(place: Place) -> None:
    [told] = await stored(place, 7)
    local = checkpoints.read(place.folder / "local" / told.key.rpartition("/")[2])
    assert (told.step, told.batch, told.sha256, told.bytes) == (7, 7, local.sha256, local.bytes)
    fetched = await fetch_newest(replace(TUNING, checkpoint=told), place.folder / "fetched", place.store)
    assert fetched is not None
    assert checkpoints.read(fetched).manifest == local.manifest
    assert await fetch_newest(TUNING, place.folder / "none", place.store) is None


async def test_a_store_that_fails_is_tried_again_and_those_overtaken_are_left_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "FIRST_BACKOFF", 0.01)
    place.objects.rmdir()
    place.objects.write_text("in the way")
    async with place.uploading() as uploads:
        for step in (1, 2, 3):
            uploads.offer(written(place.folder / "local", step).folder)
            checkpoints.keep_newest(place.folder / "local", 1)  # as the child does, meanwhile
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await uploads.settled()
        assert await place.told() == []
        place.objects.unlink()
        async with asyncio.timeout(60):
            await uploads.settled()
    assert [one.step for one in await place.told()] == [3]


async def test_what_has_other_bytes_in_the_store_is_passed_over_for_an_older_one(place: Place) -> None:
    second = Attempt(2, "worker-2", "session-2", 0)
    await stored(place, 10, 20)
    *_, newest = await stored(place, 30, attempt=second)
    # Of an attempt that was not heard any more: it may know of epochs that the tuning does not.
    await stored(place, 40)
    tuning = replace(TUNING, checkpoint=newest)

    async def goes_on_from() -> int | None:
        folder = place.folder / "fetched"
        shutil.rmtree(folder, ignore_errors=True)
        fetched = await fetch_newest(tuning, folder, place.store)
        return checkpoints.read(fetched).manifest.step if fetched is not None else None

    assert await goes_on_from() == 30
    weights = place.objects / newest.key / "weights.pt"
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    assert await goes_on_from() == 20
    (weights.parent / MANIFEST).write_bytes(b"{}")
    assert await goes_on_from() == 20
    shutil.rmtree(weights.parent)
    assert await goes_on_from() == 20
    for manifest in place.objects.glob(f"tunings/{JOB}/1/checkpoints/*20-*/{MANIFEST}"):
        manifest.unlink()
    assert await goes_on_from() == 10
    shutil.rmtree(place.objects / "tunings")
    assert await goes_on_from() is None
