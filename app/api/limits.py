"""The limit on creates: a sliding window per account, in PostgreSQL, shared by all api processes."""

from __future__ import annotations

import math
from decimal import Decimal

import asyncpg

from app.api.errors import ApiError

WINDOW_SECONDS = 60


FORGET = """
DELETE FROM ops.creates WHERE account_id = $1 AND at <= clock_timestamp() - make_interval(secs => $2)
"""
WINDOW = """
SELECT count(*) AS taken, extract(epoch FROM min(at) + make_interval(secs => $2) - clock_timestamp()) AS reset
FROM ops.creates WHERE account_id = $1 AND at > clock_timestamp() - make_interval(secs => $2)
"""


async def limit_headers(pool: asyncpg.Pool, account_id: str, limit: int) -> dict[str, str]:
    """The rate-limit headers of an answer that takes nothing."""
    if limit == 0:
        return {}
    [row] = await pool.fetch(WINDOW, account_id, WINDOW_SECONDS)
    return _headers(limit, int(row["taken"]), _reset(row["reset"]))


def _headers(limit: int, taken: int, reset: int) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(max(0, limit - taken)),
        "x-ratelimit-reset": str(reset),
    }


def _reset(seconds: Decimal | None) -> int:
    return max(1, math.ceil(seconds if seconds is not None else WINDOW_SECONDS))


async def take_create(pool: asyncpg.Pool, account_id: str, limit: int) -> dict[str, str]:
    """Count a create; the rate-limit headers. A limit of 0 is none. Raises `ApiError` 429."""
    if limit == 0:
        return {}
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", account_id)
        await connection.execute(FORGET, account_id, WINDOW_SECONDS)
        [row] = await connection.fetch(WINDOW, account_id, WINDOW_SECONDS)
        taken, reset = int(row["taken"]), _reset(row["reset"])
        headers = _headers(limit, taken + 1, reset)
        if taken >= limit:
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"at most {limit} tunings may be created in any {WINDOW_SECONDS} seconds; "
                f"retry after {reset} s",
                headers=headers | {"retry-after": str(reset)},
            )
        await connection.execute("INSERT INTO ops.creates VALUES ($1, clock_timestamp())", account_id)
    return headers
