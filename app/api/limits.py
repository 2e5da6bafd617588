"""What an account may have and send, taken in PostgreSQL and so shared by all api processes.

Creates are counted in a sliding window. Tunings that wait and bytes that are stored are counted in the read
model; what was let through and is not to be seen there yet is reserved.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import asyncpg
from msgspec import Struct
from msgspec.structs import asdict

from app.api.errors import ApiError
from app.domain.accounts import Limits
from app.settings import Settings

WINDOW_SECONDS = 60
QUOTA_RETRY_SECONDS = 60
# Numbers that a client can reckon with: there is always room.
UNLIMITED = {
    "x-ratelimit-limit": "2147483647",
    "x-ratelimit-remaining": "2147483647",
    "x-ratelimit-reset": "0",
}
RESERVED_SECONDS = 3600  # a command that got no answer may still take

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
FORGET = """
DELETE FROM ops.creates WHERE account_id = $1 AND at <= clock_timestamp() - make_interval(secs => $2)
"""
WINDOW = """
SELECT count(*) AS taken, extract(epoch FROM min(at) + make_interval(secs => $2) - clock_timestamp()) AS reset
FROM ops.creates WHERE account_id = $1 AND at > clock_timestamp() - make_interval(secs => $2)
"""
SEEN = """
DELETE FROM ops.reserved r WHERE account_id = $1 AND kind = $2
AND (at <= clock_timestamp() - make_interval(secs => $3) OR EXISTS (SELECT FROM {table} t WHERE t.id = r.id))
"""
# One statement, one moment: what is reserved becomes visible between two.
WAITING = """
SELECT (SELECT count(*) FROM tunings WHERE account_id = $1 AND status = 'pending')
    + (SELECT count(*) FROM ops.reserved r WHERE account_id = $1 AND kind = 'tuning'
       AND id <> $2 AND NOT EXISTS (SELECT FROM tunings t WHERE t.id = r.id))
"""
STORED = """
SELECT (SELECT coalesce(sum(bytes), 0) FROM files WHERE account_id = $1 AND status <> 'deleted')
    + (SELECT coalesce(sum(amount), 0) FROM ops.reserved r WHERE account_id = $1 AND kind = 'file'
       AND id <> $2 AND NOT EXISTS (SELECT FROM files f WHERE f.id = r.id))
    + (SELECT coalesce(sum(greatest(u.bytes, (
           SELECT coalesce(sum(p.bytes), 0) FROM ops.upload_parts p WHERE p.upload_id = u.id
       ))), 0) FROM ops.uploads u WHERE account_id = $1 AND status = 'pending'
       AND expires_at > clock_timestamp() AND file_id <> $2
       AND NOT EXISTS (SELECT FROM ops.reserved r WHERE r.id = u.file_id))
"""
RESERVE = """
INSERT INTO ops.reserved (id, account_id, kind, amount, at) VALUES ($1, $2, $3, $4, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, at = excluded.at
"""


def limits_of(own: Limits, settings: Settings) -> Limits:
    """An account's limits, the installation's where it has none of its own."""
    return Limits(
        **{
            name: value if value is not None else getattr(settings, name)
            for name, value in asdict(own).items()
        }
    )


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


async def standing(pool: asyncpg.Pool, account_id: str, limits: Limits) -> dict[str, str]:
    """The rate-limit headers of an account as it stands now."""
    if not limits.creates_per_minute:
        return UNLIMITED
    [row] = await pool.fetch(WINDOW, account_id, WINDOW_SECONDS)
    return limit_headers(limits.creates_per_minute, Window(row["taken"], row["reset"]))


async def take_create(pool: asyncpg.Pool, account_id: str, job_id: str, limits: Limits) -> dict[str, str]:
    """Count a create, and reserve a place among the waiting; the rate-limit headers. Raises `ApiError` 429.

    Whoever is refused afterwards gives the place back with `release`.
    """
    if not limits.creates_per_minute and not limits.waiting_tunings:
        return {}
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(LOCK, account_id)
        headers = await _take_window(connection, account_id, limits.creates_per_minute or 0)
        if limits.waiting_tunings:
            await connection.execute(SEEN.format(table="tunings"), account_id, "tuning", RESERVED_SECONDS)
            waiting = await connection.fetchval(WAITING, account_id, job_id)
            if waiting >= limits.waiting_tunings:
                message = (
                    f"at most {limits.waiting_tunings} tunings of this account may wait at a time; "
                    "let some start or cancel some"
                )
                raise _exceeded("waiting_limit_exceeded", message)
            await connection.execute(RESERVE, job_id, account_id, "tuning", 1)
    return headers


async def _take_window(connection: Any, account_id: str, limit: int) -> dict[str, str]:
    if limit == 0:
        return {}
    await connection.execute(FORGET, account_id, WINDOW_SECONDS)
    [row] = await connection.fetch(WINDOW, account_id, WINDOW_SECONDS)
    window = Window(row["taken"] + 1, row["reset"])
    headers, reset = limit_headers(limit, window), window.seconds
    if window.taken > limit:
        raise ApiError(
            429,
            "rate_limit_exceeded",
            f"at most {limit} tunings may be created in any {WINDOW_SECONDS} seconds; retry after {reset} s",
            headers=headers | {"retry-after": str(reset)},
        )
    await connection.execute("INSERT INTO ops.creates VALUES ($1, clock_timestamp())", account_id)
    return headers


async def take_bytes(pool: asyncpg.Pool, account_id: str, file_id: str, size: int, limits: Limits) -> None:
    """Reserve room for an upload; one that is there already takes none. Raises `ApiError` 429.

    Whoever is refused afterwards gives it back with `release`.
    """
    if not limits.stored_bytes:
        return
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(LOCK, account_id)
        await connection.execute(SEEN.format(table="files"), account_id, "file", RESERVED_SECONDS)
        if await connection.fetchval("SELECT true FROM files WHERE id = $1", file_id):
            return
        stored = await connection.fetchval(STORED, account_id, file_id)
        if stored + size > limits.stored_bytes:
            message = (
                f"this account may store {limits.stored_bytes} bytes and has {stored} of them; "
                f"delete files to make room for {size} more"
            )
            raise _exceeded("stored_bytes_exceeded", message)
        await connection.execute(RESERVE, file_id, account_id, "file", size)


async def release(pool: asyncpg.Pool, id: str) -> None:
    """Give back what was reserved for something that is not to be."""
    await pool.execute("DELETE FROM ops.reserved WHERE id = $1", id)


def _exceeded(code: str, message: str) -> ApiError:
    """A quota is full: waiting alone makes no room, so no client should send the same again by itself."""
    headers = {"retry-after": str(QUOTA_RETRY_SECONDS), "x-should-retry": "false"}
    return ApiError(429, code, message, headers=headers)
