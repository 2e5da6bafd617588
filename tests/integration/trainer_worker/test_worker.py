"""A worker at work: handler, scheduler and worker on one log, a tiny model in real child processes."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
import structlog
from msgspec.structs import replace

from app import logs
from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE, Entry
from app.catalogue.hub import access_of
from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    AttemptLost,
    UpdateTuning,
    WarmStart,
)
from app.log import topics
from app.log.memory import MemoryLog
from app.log.metrics import Phase, Step, read_metric
from app.log.port import read_all
from app.log.topics import declared
from app.scheduler import queueing
from app.scheduler.loop import serve as schedule
from app.settings import Settings
from app.storage.logs import logged_attempts, read_log
from app.storage.store import Store
from app.trainer_worker import kernel
from app.trainer_worker.worker import serve as work
from tests.faults.rounds import rounds
from tests.handling import events_of, handling, send
from tests.hub import damage, hub, on_a_hub
from tests.shop import Shop, children, gone, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

REPEATED = ("CheckpointSaved", "EpochCompleted")
TOKEN = "hf_of-the-tests"
STALL = float(rounds(600, 30))
TRACKERS = "tensorboard" if find_spec("tensorboard") else ""


class Tracked(Shop, frozen=True, kw_only=True):
    """A shop whose worker's trackers keep what they hear in a folder."""

    tracking: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, tiny: Entry) -> AsyncIterator[Tracked]:
    """Handler, scheduler and a worker with one slot, for one test after the other, as children start slowly.

    The model is of a hub; in the worker's cache it is damaged. At the end neither process nor folder of the
    worker may be left.
    """
    folder = tmp_path_factory.mktemp("shop")
    log = MemoryLog({topic.name: 1 for topic in declared("embedded")})
    store = Store(f"file://{folder / 'objects'}")
    stop, end = asyncio.Event(), asyncio.Event()
    with hub() as there, pytest.MonkeyPatch.context() as patched:
        model = on_a_hub(there, tiny, TOKEN)
        patched.setitem(CATALOGUE, model.id, model)
        settings = Settings(
            cache_dir=folder,
            lease_seconds=10,
            stall_seconds=STALL,
            checkpoint_seconds=0.1,
            hub_endpoint=there.url,
            hub_token=TOKEN,
            trackers=TRACKERS,
            tracking_dir=folder / "tracking",
        )
        damage(ensure_model(folder, model, access=access_of(settings)))
        async with handling(log, "tunings", "models"):
            working = asyncio.create_task(work(settings, log, store, folder / "work", stop, "worker-1"))
            planning = asyncio.create_task(schedule(settings, log, end))
            try:
                yield Tracked(model, log, store, stop, tracking=folder / "tracking")
            finally:
                stop.set()
                end.set()
                await asyncio.gather(working, planning)
    assert children() == []
    assert not (folder / "work").exists()


async def test_a_tuning_goes_from_order_to_proved_adapter_while_the_next_one_waits(
    shop: Tracked, tmp_path: Path
) -> None:
    await shop.create("job-1", rows=32, epochs=2)
    await shop.create("job-2", rows=160, epochs=100)

    async def waits() -> bool:
        place = await shop.place("job-2")
        return place is not None and place.position == 1

    async def succeeds() -> bool:
        return "Dispatched" in await shop.happened("job-2")

    await until(waits)
    await until(succeeds)
    events = [(one.aggregate_id, type(one.body).__name__) for one in await events_of(shop.log, TUNINGS)]
    assert events.index(("job-1", "Succeeded")) < events.index(("job-2", "Dispatched"))
    await shop.cancel("job-2")
    told = [read_metric(one)[1] async for one in read_all(shop.log, topics.METRICS)]
    assert {one.device for one in told if isinstance(one, Step)} in ({"cpu"}, {"cuda"})
    assert [one for one in await shop.happened("job-1") if one != "CheckpointSaved"] == [
        "Created",
        "Dispatched",
        "Started",
        "EpochCompleted",
        "EpochCompleted",
        "Succeeded",
    ]
    tuning = await shop.tuning("job-1")
    assert tuning.fine_tuned_model == f"ft:{shop.model.id}::job-1"
    names = {file.name for file in tuning.result_files}
    assert {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "results/metrics.jsonl",
    } <= names
    for file in tuning.result_files:
        got = await shop.store.get_file(file.key, tmp_path / "got" / file.name)
        assert (got.bytes, got.sha256) == (file.bytes, file.sha256)
    details = [one.detail for one in told if isinstance(one, Phase)]
    assert any("fetched" in detail for detail in details)  # it was mended first
    if TRACKERS:
        [written] = (shop.tracking / "tensorboard" / "job-1").iterdir()
        curves = scalars(written)
        assert {"train/grad_norm", "train/learning_rate"} <= curves.keys()
        assert len(curves["train/loss"]) == 16
    assert await logged_attempts(shop.store, "job-1") == [1]
    printed = await read_log(shop.store, "job-1", 1)
    assert printed is not None
    assert " verified max_logit_difference=" in printed[0]

    adapter = tuple(file for file in tuning.result_files if file.name.startswith("adapter/"))
    await shop.create("job-warm", warm_start=WarmStart("ft:1", "job-1", adapter), export="merged")
    others = tuple(replace(file, sha256="0" * 64) for file in adapter)
    await shop.create("job-other", warm_start=WarmStart("ft:1", "job-1", others))

    async def ended() -> bool:
        return "Failed" in await shop.happened("job-other")

    await until(ended)
    warm, other = await shop.tuning("job-warm"), await shop.tuning("job-other")
    assert warm.status == "succeeded"
    assert warm.epochs[0].train_loss < tuning.epochs[0].train_loss
    assert warm.memory_peak > 100 * 1024**2
    made = {file.name for file in warm.result_files}
    assert {"merged/model.safetensors", "merged/tokenizer.json", "results/examples.jsonl"} <= made
    assert other.failure is not None
    assert (other.failure.code, other.failure.param) == ("file_unusable", "model")


def scalars(written: Path) -> dict[str, list[float]]:
    """What TensorBoard itself reads of an event file: the values of each curve."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(written))
    read.Reload()
    return {tag: [one.value for one in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


async def test_a_file_with_other_bytes_than_were_accepted_fails_the_tuning(shop: Shop) -> None:
    await shop.create("job-bytes", sha256="0" * 64)

    async def ended() -> bool:
        return "Failed" in await shop.happened("job-bytes")

    await until(ended)
    failure = (await shop.tuning("job-bytes")).failure
    assert failure is not None
    assert failure.code == "file_unusable"
    assert "upload the file again" in failure.message


async def test_a_training_that_fails_is_told_in_the_log(shop: Shop, json_log: io.StringIO) -> None:
    await shop.create("job-bad", rows=1, content=b"no row\n")

    async def ended() -> bool:
        return "Failed" in await shop.happened("job-bad")

    await until(ended)
    failure = (await shop.tuning("job-bad")).failure
    assert failure is not None
    lines = [json.loads(line) for line in json_log.getvalue().splitlines()]
    [told] = [line for line in lines if line["event"] == "training_failed"]
    assert (told["level"], told["job_id"], told["attempt"]) == ("error", "job-bad", 1)
    assert (told["error"], told["code"]) == (failure.message, failure.code)
    assert re.fullmatch(r"\d+\.\d GB", told["gpu_memory_used"])
    assert told["timestamp"].endswith("Z")


@pytest.fixture
def json_log() -> Iterator[io.StringIO]:
    """What the roles log, as their processes write it."""
    stream, root = io.StringIO(), logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("info", stream)
    structlog.configure(cache_logger_on_first_use=False)  # the loggers of this process outlive the test
    try:
        yield stream
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()


async def test_an_attempt_goes_on_where_the_one_before_was_killed_or_paused(
    shop: Shop, json_log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, vmstat = "job-killed", tmp_path / "vmstat"
    monkeypatch.setattr(kernel, "VMSTAT", vmstat)
    vmstat.write_text("pgfault 7\noom_kill 3\n")
    in_the_way = Path(shop.store.url.removeprefix("file://")) / "tunings" / job
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("no folder: nothing of this tuning can be stored")
    await shop.create(job, rows=160, epochs=100)

    async def fails() -> bool:
        return json_log.getvalue().count("checkpoint_upload_failed") >= 2

    async def saved() -> bool:
        return "CheckpointSaved" in await shop.happened(job)

    await until(fails)
    had = len(await shop.steps(job, 1))

    async def trains_on() -> bool:
        return len(await shop.steps(job, 1)) > had

    await until(trains_on)
    assert not await saved()
    in_the_way.unlink()
    await until(saved)
    beat = await shop.beat()
    assert beat is not None
    assert beat.slots[0].occupant is not None
    # What is left comes with a step: the scheduler tells by it when the next one will start.
    assert beat.slots[0].occupant.seconds_left is not None
    [first] = children()
    assert Path(f"/proc/{first.pid}/oom_score_adj").read_text() == "800\n"
    vmstat.write_text("pgfault 9\noom_kill 4\n")  # as if the kernel had done it
    os.kill(first.pid, signal.SIGKILL)

    async def lost() -> bool:
        return "AttemptLost" in await shop.happened(job)

    await until(lost)
    reduction = (await shop.tuning(job)).reduction
    assert reduction is not None
    assert (reduction.rows_at_a_time, reduction.gradient_accumulation) == (2, 2)
    kept = (await shop.tuning(job)).checkpoint
    assert kept is not None

    async def again() -> bool:
        return bool(await shop.steps(job, 2))

    await until(again)
    assert (await shop.steps(job, 2))[0] == kept.step + 1
    assert await logged_attempts(shop.store, job) == [1]
    transitions = [one for one in await shop.happened(job) if one not in REPEATED]
    assert transitions == ["Created", "Dispatched", "Started", "MemoryReduced", "AttemptLost", "Dispatched"]

    [second] = children()
    await shop.pause(job)

    async def paused() -> bool:
        return (await shop.tuning(job)).status == "paused"

    await until(paused)
    assert not second.is_running() or second.status() == psutil.STATUS_ZOMBIE
    assert (await shop.happened(job))[-2:] == ["CheckpointSaved", "Paused"]
    kept = (await shop.tuning(job)).checkpoint
    assert kept is not None
    assert (await shop.steps(job, 2))[-1] == kept.step
    await until(shop.free)  # a fresh child is warm
    await shop.resume(job)

    async def goes_on() -> bool:
        return bool(await shop.steps(job, 3))

    await until(goes_on)
    assert (await shop.steps(job, 3))[0] == kept.step + 1
    [third] = children()
    await shop.cancel(job)
    await gone(third, within=5)
    assert (await shop.tuning(job)).status == "cancelled"

    async def logged() -> bool:
        return await logged_attempts(shop.store, job) == [1, 2, 3]

    await until(logged, within=10)


@pytest.mark.skipif(rounds(0, 1) == 0, reason="with FAULTS=every; test_loop.py has it in messages")
async def test_a_running_tuning_hands_its_slot_back_to_a_higher_priority_and_goes_on_without_a_step_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "SPARED_FIRST", timedelta())
    low, urgent = "job-low", "job-urgent"
    await shop.create(low, rows=160, epochs=100)

    async def trains() -> bool:
        return bool(await shop.steps(low, 1))

    await until(trains)
    await shop.create(urgent)
    await send(shop.log, TUNINGS, urgent, UpdateTuning(priority=1), ids=["urgent"])

    async def goes_on() -> bool:
        return bool(await shop.steps(low, 2))

    await until(goes_on)
    assert (await shop.happened(urgent))[-1] == "Succeeded"
    assert (await shop.steps(low, 2))[0] == (await shop.steps(low, 1))[-1] + 1
    tuning = await shop.tuning(low)
    assert (tuning.attempts, tuning.lost_for, tuning.losses_after_start) == (2, "preempted", 0)
    await shop.cancel(low)
    await until(shop.free)


@pytest.mark.skipif(rounds(0, 1) == 0, reason="with FAULTS=every; a child alone hangs in test_child.py")
async def test_a_child_that_hangs_and_hears_no_signal_is_killed_and_the_attempt_is_lost(shop: Shop) -> None:
    await shop.create("job-hangs", rows=160, epochs=100)

    async def trains() -> bool:
        beat = await shop.beat()
        occupant = beat.slots[0].occupant if beat is not None and beat.slots else None
        return occupant is not None and occupant.tuning_id == "job-hangs" and occupant.step >= 1

    await until(trains)
    [child] = children()
    child.suspend()  # deaf to SIGTERM as well

    async def lost() -> bool:
        told = [one.body for one in await events_of(shop.log, TUNINGS) if one.aggregate_id == "job-hangs"]
        return [body.reason for body in told if isinstance(body, AttemptLost)] == ["stalled"]

    await until(lost)
    await gone(child, within=60)
    await until(trains)  # another child, another attempt
    await shop.cancel("job-hangs")


async def test_a_worker_declines_a_second_order_for_a_slot_and_told_to_stop_hands_the_first_one_back(
    shop: Shop,
) -> None:
    await shop.create("job-stopped", rows=160, epochs=100)

    async def trains() -> bool:
        return bool(await shop.steps("job-stopped", 1))

    await until(trains)
    await shop.create("job-too")
    beat = await shop.beat()
    assert beat is not None
    # A scheduler that is wrong gives the same slot away once more.
    wrong = AssignAttempt(Attempt(1, beat.worker, beat.session, 0))
    await send(shop.log, TUNINGS, "job-too", wrong, ids=["wrong-assignment"])

    async def declined() -> bool:
        told = [one.body for one in await events_of(shop.log, TUNINGS) if one.aggregate_id == "job-too"]
        return [body.reason for body in told if isinstance(body, AttemptLost)] == ["order_declined"]

    await until(declined)
    assert "AttemptLost" not in await shop.happened("job-stopped")
    shop.stop.set()

    async def lost() -> bool:
        return "AttemptLost" in await shop.happened("job-stopped")

    await until(lost)
    tuning = await shop.tuning("job-stopped")
    assert (tuning.status, tuning.losses_after_start) == ("running", 0)
    assert tuning.checkpoint is not None
    assert (await shop.steps("job-stopped", 1))[-1] == tuning.checkpoint.step
    bodies = [one.body for one in await events_of(shop.log, TUNINGS) if one.aggregate_id == "job-stopped"]
    assert bodies[-1] == AttemptLost(1, "drained")
