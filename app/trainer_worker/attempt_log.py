"""What an attempt's child printed, left in the store for whoever asks why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from app.storage.logs import keep_log
from app.storage.store import StorageError, Store

KEPT_WITHIN = 5.0

logger = structlog.get_logger("trainer_worker")


async def leave_log(store: Store, tuning_id: str, attempt: int, output: Path) -> None:
    """Keep the log; no attempt fails, and no slot is held up for long, because it could not be kept."""
    try:
        async with asyncio.timeout(KEPT_WITHIN):
            await keep_log(store, tuning_id, attempt, output)
    except (StorageError, OSError) as error:  # a timeout is an OSError too
        logger.warning("log_not_kept", job_id=tuning_id, attempt=attempt, error=str(error))
