"""What an attempt's child printed, left in the store for whoever asks why."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import structlog

from app.settings import Settings, SettingsError
from app.storage.logs import keep_log
from app.storage.store import StorageError, Store

KEPT_WITHIN = 5.0
SOURCES = Path(__file__).parents[2]

logger = structlog.get_logger("trainer_worker")


async def leave_log(store: Store, tuning_id: str, attempt: int, output: Path) -> None:
    """Keep the log; no attempt fails, and no slot is held up for long, because it could not be kept."""
    try:
        async with asyncio.timeout(KEPT_WITHIN):
            await keep_log(store, tuning_id, attempt, output, _names(output.parent))
    except (StorageError, OSError) as error:  # a timeout is an OSError too
        logger.warning("log_not_kept", job_id=tuning_id, attempt=attempt, error=str(error))


def _names(work: Path) -> dict[str, str]:
    """What a log says instead of where things lie on this machine."""
    places = {
        work: "<work>",
        SOURCES: "<tunesmith>",
        Path(sys.prefix): "<python>",
        Path(sys.base_prefix): "<python>",
        Path.home(): "~",
    }
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError:
        settings = Settings()
    places |= {settings.cache_dir: "<cache>", settings.data_dir: "<data>"}
    return {str(place.absolute()): name for place, name in places.items() if place != Path("/")}
