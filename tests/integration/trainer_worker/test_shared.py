"""A worker whose slot has two devices, here processes on a CPU: tunings as on one, and one may die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from app.catalogue.catalogue import CATALOGUE, Entry
from app.domain.tunings import TUNINGS, AttemptLost
from app.log.memory import MemoryLog
from app.log.topics import declared
from app.scheduler.loop import serve as schedule
from app.settings import Settings
from app.storage.logs import log_key
from app.storage.store import Store
from app.trainer_worker.worker import serve as work
from tests.faults.rounds import rounds
from tests.handling import events_of, handling
from tests.shop import Shop, children, gone, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not rounds(0, 1), reason="children of two processes import for long"),
]


async def test_a_tuning_in_two_processes_is_killed_paused_and_cancelled_as_one_in_one(
    tmp_path: Path, tiny: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, tiny.id, tiny)
    log = MemoryLog({topic.name: 1 for topic in declared("embedded")})
    store, stop = Store(f"file://{tmp_path / 'objects'}"), asyncio.Event()
    settings = Settings(cache_dir=tmp_path, checkpoint_seconds=0.1, devices_per_slot=2)
    shop = Shop(tiny, log, store, stop)
    async with handling(log, "tunings", "models"):
        working = asyncio.create_task(work(settings, log, store, tmp_path / "work", stop, "worker-1"))
        planning = asyncio.create_task(schedule(settings, log, stop))
        try:
            await is_killed_and_goes_on(shop)
            await is_cancelled(shop)
        finally:
            stop.set()
            await asyncio.gather(working, planning)
    assert children() == []


async def is_killed_and_goes_on(shop: Shop) -> None:
    job = "job-killed"
    await shop.create(job, rows=32, epochs=15)

    async def saved() -> bool:
        return "CheckpointSaved" in await shop.happened(job)

    await until(saved)
    beat = await shop.beat()
    assert beat is not None
    assert beat.slots[0].device.memory * 2 <= psutil.virtual_memory().total
    first, second = sorted(children(), key=lambda one: "--processes" not in one.cmdline())
    os.kill(second.pid, signal.SIGKILL)

    async def lost() -> bool:
        return "AttemptLost" in await shop.happened(job)

    await until(lost)
    bodies = [one.body for one in await events_of(shop.log, TUNINGS)]
    assert [body.reason for body in bodies if isinstance(body, AttemptLost)] == ["child_died"]
    await gone(first, within=5)
    kept = (await shop.tuning(job)).checkpoint
    assert kept is not None
    printed = (await shop.store.get_bytes(log_key(job, 1))).decode()
    assert f"rank 1, process {second.pid}, ended with signal SIGKILL" in printed

    async def again() -> bool:
        return bool(await shop.steps(job, 2))

    await until(again)
    assert (await shop.steps(job, 2))[0] == kept.step + 1
    await shop.pause(job)

    async def paused() -> bool:
        return (await shop.tuning(job)).status == "paused"

    await until(paused)
    kept = (await shop.tuning(job)).checkpoint
    assert kept is not None
    assert (await shop.steps(job, 2))[-1] == kept.step
    await shop.resume(job)

    async def succeeded() -> bool:
        return (await shop.tuning(job)).status == "succeeded"

    await until(succeeded)
    [manifest] = [one for one in (await shop.tuning(job)).result_files if one.name == "results/manifest.json"]
    assert json.loads(await shop.store.get_bytes(manifest.key))["processes"] == 2


async def is_cancelled(shop: Shop) -> None:
    await shop.create("job-cancelled", rows=32, epochs=100)

    async def trains() -> bool:
        return bool(await shop.steps("job-cancelled", 1))

    await until(trains)
    both = children()
    assert len(both) == 2
    await shop.cancel("job-cancelled")
    for one in both:
        await gone(one, within=5)
