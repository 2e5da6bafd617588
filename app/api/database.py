"""The api's way to PostgreSQL, bounded in time."""

from __future__ import annotations

from typing import Any

import asyncpg
from asyncpg.pool import PoolAcquireContext

from app.database import as_it_is

POOL_SIZE = 10
# A database that hangs neither answers nor refuses: this is how long for a connection, and for a statement.
ANSWERS_WITHIN = 5.0
# A statement given up is cancelled by the server; one that does not do so loses its connection.
CANCELLED_WITHIN = 1.0


class BoundedPool(asyncpg.Pool):
    """A pool that nobody waits for longer than `ANSWERS_WITHIN`, neither for a connection nor for its end."""

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext[Any]:
        """A connection. Raises `TimeoutError`."""
        return super().acquire(timeout=ANSWERS_WITHIN if timeout is None else timeout)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        await super().release(connection, timeout=CANCELLED_WITHIN if timeout is None else timeout)


def pool_of(dsn: str) -> BoundedPool:
    """A pool to be opened as a context: unqualified names mean the serving read model."""
    return BoundedPool(
        dsn,
        min_size=2,
        max_size=POOL_SIZE,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        command_timeout=ANSWERS_WITHIN,
        timeout=ANSWERS_WITHIN,
        server_settings={"search_path": "read"},
        reset=as_it_is,
    )
