"""How an attempt comes by its model: progress told on the way, and a reason when it cannot be had."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.catalogue.catalogue import CATALOGUE, Folder
from app.catalogue.files import ModelError, OnProgress
from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.tunings import Attempt, FileRef, ModelRef, RunAttempt, Tuning
from app.log import topics
from app.log.memory import MemoryLog
from app.log.metrics import Phase, read_metric
from app.log.port import read_all
from app.log.topics import declared
from app.settings import Settings
from app.trainer_worker import models
from app.trainer_worker.attempt import failure_of
from app.trainer_worker.models import at_hand, obtaining
from app.trainer_worker.reports import Reports
from tests.unit.catalogue.small import entry_from, write_model


def order(model: ModelRef) -> RunAttempt:
    hyperparameters = resolve({}, rows=8, context_length=2048)
    assert isinstance(hyperparameters, Hyperparameters)
    tuning = Tuning(
        id="job-1",
        account_id="acct-1",
        model=model,
        training_file=FileRef("file-1", "0" * 64, "files/file-1/upload", 1, 8),
        validation_file=None,
        hyperparameters=hyperparameters,
        method="supervised",
        suffix=None,
        metadata={},
        seed=1,
        priority=0,
        memory=0,
        request_hash="",
        created_at=datetime.now(UTC),
    )
    return RunAttempt(Attempt(3, "w", "s", 0), tuning)


async def test_how_far_a_model_is_goes_to_the_metrics_and_the_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "TELLS_EVERY", 0.01)
    log = MemoryLog({topic.name: 1 for topic in declared("embedded")})
    reports, told, go_on = Reports(log, "w"), list[str](), threading.Event()

    def obtain(model: ModelRef, on_progress: OnProgress, abandoned: Callable[[], bool]) -> Path:
        on_progress("half of it")
        assert go_on.wait(30)
        return Path("/models/m")

    def tell(text: str) -> None:
        told.append(text)
        go_on.set()

    assert await at_hand(order(ModelRef("m", "r1")), obtain, reports, tell) == Path("/models/m")
    assert told == ["half of it"]
    [record] = [one async for one in read_all(log, topics.METRICS)]
    assert read_metric(record) == ("job-1", Phase(3, "loading", "half of it"))
    await reports.close()


async def test_an_attempt_that_is_stopped_lets_go_of_what_it_waits_for() -> None:
    log = MemoryLog({topic.name: 1 for topic in declared("embedded")})
    begun, gone = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def obtain(model: ModelRef, on_progress: OnProgress, abandoned: Callable[[], bool]) -> Path:
        loop.call_soon_threadsafe(begun.set)
        while not abandoned():
            gone.wait(0.01)
        gone.set()
        raise ModelError("nobody hears this")

    waiting = asyncio.create_task(
        at_hand(order(ModelRef("m", "r1")), obtain, Reports(log, "w"), lambda _: None)
    )
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(gone.wait, 30)


def test_a_worker_trains_on_no_other_revision_than_the_tuning_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_from(Folder(str(write_model(tmp_path / "mine"))))
    monkeypatch.setitem(CATALOGUE, entry.id, entry)
    obtain = obtaining(Settings(cache_dir=tmp_path))
    assert obtain(ModelRef("small", "r1"), lambda _: None, lambda: False) == tmp_path / "mine"
    for other in (ModelRef("small", "r2"), ModelRef("unheard-of", "r1")):
        with pytest.raises(ModelError) as refused:
            obtain(other, lambda _: None, lambda: False)
        failure = failure_of(refused.value)
        assert (failure.code, failure.blame, failure.param) == ("model_unknown", "platform", "model")
    monkeypatch.setitem(CATALOGUE, entry.id, replace(entry, layers=3))
    with pytest.raises(ModelError):
        obtaining(Settings(cache_dir=tmp_path / "other"))(ModelRef("small", "r1"), print, lambda: False)
