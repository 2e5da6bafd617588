"""The files of an attempt's model, fetched while its progress is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event

import structlog

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE
from app.catalogue.files import ModelError, OnProgress
from app.catalogue.hub import access_of
from app.domain.tunings import ModelRef, RunAttempt
from app.log.metrics import Phase
from app.settings import Settings
from app.trainer_worker.reports import Reports

TELLS_EVERY = 2.0

Obtain = Callable[[ModelRef, OnProgress, Callable[[], bool]], Path]

logger = structlog.get_logger("trainer_worker")


def obtaining(settings: Settings) -> Obtain:
    """A function that gives a model's folder, and blocks until its files are there."""
    access = access_of(settings)

    def obtain(model: ModelRef, on_progress: OnProgress, abandoned: Callable[[], bool]) -> Path:
        entry = CATALOGUE.get(model.id)
        if entry is None or entry.revision != model.revision:
            here = f"it has revision {entry.revision}" if entry else "it does not have it at all"
            raise ModelError(
                f"this worker's catalogue is not that of {model.id} at revision {model.revision}: {here}; "
                "the operator gives every worker the same models.toml",
                "model_unknown",
            )
        return ensure_model(settings.cache_dir, entry, on_progress, access, abandoned)

    return obtain


async def at_hand(order: RunAttempt, obtain: Obtain, reports: Reports, tell: Callable[[str], None]) -> Path:
    """The folder of an order's model; how far its fetching is goes to `tell` and to the metrics.

    Raises `ModelError`. Once this is cancelled, what fetches for nobody else ends.
    """
    tuning, told, latest = order.tuning, "", [""]
    abandoned = Event()

    def hear(text: str) -> None:
        latest[0] = text

    obtained = asyncio.create_task(asyncio.to_thread(obtain, tuning.model, hear, abandoned.is_set))
    try:
        while True:
            done, _ = await asyncio.wait([obtained], timeout=TELLS_EVERY)
            if latest[0] != told:
                told = latest[0]
                logger.info("model_prepared", job_id=tuning.id, step=told)
                tell(told)
                await reports.metric(tuning.id, Phase(order.attempt.number, "loading", told))
            if done:
                return obtained.result()
    finally:
        abandoned.set()
        obtained.add_done_callback(_heard)


def _heard(obtained: asyncio.Task[Path]) -> None:
    """Nobody asks what became of what was abandoned."""
    if not obtained.cancelled():
        obtained.exception()
