"""The limit on creates: a sliding window per account, in PostgreSQL, shared by all api processes."""

from __future__ import annotations

import math

import asyncpg

from app.api.errors import ApiError

WINDOW_SECONDS = 60


async def take_create(pool: asyncpg.Pool, account_id: str, limit: int) -> dict[str, str]:
    """Count a create; the rate-limit headers. Raises `ApiError` 429 with `Retry-After`. A limit of 0 is none."""
    if limit == 0:
        return {}
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", account_id)
        await connection.execute(
            "DELETE FROM ops.creates WHERE account_id = $1 AND at <= clock_timestamp() - make_interval(secs => $2)",
            account_id,
            WINDOW_SECONDS,
        )
        row = await connection.fetchrow(
            "SELECT count(*) AS taken, extract(epoch FROM min(at) + make_interval(secs => $2) - clock_timestamp()) "
            "AS reset FROM ops.creates WHERE account_id = $1",
            account_id,
            WINDOW_SECONDS,
        )
        taken, reset = int(row["taken"]), max(1, math.ceil(row["reset"] or WINDOW_SECONDS))
        headers = {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(0, limit - taken - 1)),
            "x-ratelimit-reset": str(reset),
        }
        if taken >= limit:
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"at most {limit} tunings may be created in any {WINDOW_SECONDS} seconds; retry after {reset} s",
                headers=headers | {"retry-after": str(reset)},
            )
        await connection.execute("INSERT INTO ops.creates VALUES ($1, clock_timestamp())", account_id)
    return headers
