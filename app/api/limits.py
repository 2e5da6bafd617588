"""The limit on creates: a sliding window per account, in PostgreSQL, shared by all api processes."""

from __future__ import annotations

import math
from decimal import Decimal

import asyncpg
from msgspec import Struct

from app.api.errors import ApiError

WINDOW_SECONDS = 60


FORGET = """
DELETE FROM ops.creates WHERE account_id = $1 AND at <= clock_timestamp() - make_interval(secs => $2)
"""
WINDOW = """
SELECT count(*) AS taken, extract(epoch FROM min(at) + make_interval(secs => $2) - clock_timestamp()) AS reset
FROM ops.creates WHERE account_id = $1 AND at > clock_timestamp() - make_interval(secs => $2)
"""


class Window(Struct, frozen=True):
    """An account's creates in the last minute, and in how many seconds the first of them counts no more."""

    taken: int
    reset: Decimal | None

    @property
    def seconds(self) -> int:
        """Whole seconds until there is room again, at least 1."""
        return max(1, math.ceil(self.reset if self.reset is not None else WINDOW_SECONDS))


def limit_headers(limit: int, window: Window) -> dict[str, str]:
    """What tells a client where its account stands."""
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(max(0, limit - window.taken)),
        "x-ratelimit-reset": str(window.seconds),
    }


async def standing(pool: asyncpg.Pool, account_id: str, limit: int) -> dict[str, str]:
    """The rate-limit headers of an account as it stands now."""
    if limit == 0:
        return {}
    [row] = await pool.fetch(WINDOW, account_id, WINDOW_SECONDS)
    return limit_headers(limit, Window(row["taken"], row["reset"]))


async def take_create(pool: asyncpg.Pool, account_id: str, limit: int) -> dict[str, str]:
    """Count a create; the rate-limit headers. A limit of 0 is none. Raises `ApiError` 429."""
    if limit == 0:
        return {}
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", account_id)
        await connection.execute(FORGET, account_id, WINDOW_SECONDS)
        [row] = await connection.fetch(WINDOW, account_id, WINDOW_SECONDS)
        window = Window(row["taken"] + 1, row["reset"])
        headers, reset = limit_headers(limit, window), window.seconds
        if window.taken > limit:
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"at most {limit} tunings may be created in any {WINDOW_SECONDS} seconds; "
                f"retry after {reset} s",
                headers=headers | {"retry-after": str(reset)},
            )
        await connection.execute("INSERT INTO ops.creates VALUES ($1, clock_timestamp())", account_id)
    return headers
