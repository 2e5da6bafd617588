"""What the roles that work with PostgreSQL know of it: how it fails, and that sessions stay as they are."""

from __future__ import annotations

import asyncpg

# No answer in time is an OSError; a connection lost within an operation may end as asyncpg's internal error.
DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def as_it_is(_: object) -> None:
    """A pool's `reset`: nothing here changes a session, and asyncpg's own is a round trip for every use."""
