"""The role: every reactor, until `stop`."""

from __future__ import annotations

import asyncio

import asyncpg

from app.log.port import Log
from app.reactors import check_files, free_files
from app.storage.store import Store


async def serve(log: Log, dsn: str, store: Store, stop: asyncio.Event) -> None:
    """React until `stop`."""
    async with (
        asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(check_files.serve(log, pool, store, stop))
        tasks.create_task(free_files.serve(log, pool, store, stop))
