"""What tells that the database is away, or was lost within an operation."""

from __future__ import annotations

import asyncpg

# No answer in time is an OSError; a connection lost within an operation may end as asyncpg's internal error.
DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
