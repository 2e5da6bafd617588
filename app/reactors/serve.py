"""The role: every reactor, until `stop`."""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from app.log.port import Log
from app.reactors import check_files, free_checkpoints, free_files, free_uploads, webhooks
from app.reactors.deliveries import Sending
from app.reactors.following import tables_made
from app.storage.store import Store

POOL_SIZE = 6
# The projector makes them: those of `ops` all at once, those of `read` when the first read model serves.
TABLES = (
    "ops.checkpoints_to_free",
    "ops.cursors",
    "ops.deleted_files",
    "ops.deliveries",
    "ops.uploads",
    "read.webhooks",
)

logger = structlog.get_logger("reactor")


async def serve(
    log: Log, dsn: str, store: Store, stop: asyncio.Event, sending: Sending | None = None
) -> None:
    """React until `stop`; without `sending` no webhooks go out."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=POOL_SIZE) as pool:
        if not await tables_made(pool, "reactor", TABLES, stop):
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(check_files.serve(log, pool, store, stop))
            tasks.create_task(free_files.serve(log, pool, store, stop))
            tasks.create_task(free_uploads.serve(log, pool, store, stop))
            tasks.create_task(free_checkpoints.serve(log, pool, store, stop))
            if sending is not None:
                tasks.create_task(webhooks.serve(log, pool, sending, stop))
            else:
                logger.info("webhooks_off", why="TUNESMITH_INSTALLATION_KEY is not set")
