"""A store that fails is asked again: an attempt is not lost because its store was away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from app.storage.store import ObjectMissing, StorageError

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0

T = TypeVar("T")

logger = structlog.get_logger("trainer_worker")


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What the store says in the end. That an object is missing is an answer: raises `ObjectMissing`.

    It has as long as an attempt may stand still.
    """
    backoff = FIRST_BACKOFF
    while True:
        try:
            return await call()
        except ObjectMissing:
            raise
        except StorageError as error:
            logger.warning("store_failed", error=str(error), again_in=backoff)
        await asyncio.sleep(backoff)
        backoff = min(LONGEST_BACKOFF, backoff * 2)
