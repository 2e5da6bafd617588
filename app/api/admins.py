"""The installation's admin keys: who has none left could manage no account any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.api.errors import ApiError
from app.api.limits import RESERVED_SECONDS, release
from app.api.session import Session

KIND = "admin"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('admin keys', 0))"
FORGET = "DELETE FROM ops.reserved WHERE kind = $1 AND at <= clock_timestamp() - make_interval(secs => $2)"
# What is being taken out of use counts no more, although the read model may not show that yet.
OTHERS = """
SELECT EXISTS (
    SELECT FROM api_keys k JOIN accounts a ON a.id = k.account_id
    WHERE 'admin' = ANY(k.scopes) AND k.revoked_at IS NULL AND NOT a.suspended
    AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    AND NOT EXISTS (SELECT FROM ops.reserved r WHERE r.kind = $1 AND r.id IN (k.id, a.id))
)
"""
TAKE_OUT = """
INSERT INTO ops.reserved (id, account_id, kind, amount, at) VALUES ($1, $2, $3, 1, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET at = excluded.at
"""


@asynccontextmanager
async def an_admin_stays(session: Session, id: str, *, force: bool) -> AsyncIterator[None]:
    """While the key or account `id` is taken out of use: refuse when no admin key would be left.

    Two at once could each take the other for the one that stays, so each is noted before its command is sent,
    and stays noted when nobody knows whether that took. Raises `ApiError` 409.
    """
    if force:
        yield
        return
    pool = session.service.pool
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(LOCK)
        await connection.execute(FORGET, KIND, RESERVED_SECONDS)
        await connection.execute(TAKE_OUT, id, session.caller.account_id, KIND)
        if not await connection.fetchval(OTHERS, KIND):
            message = (
                "no other admin key would be left, and nobody could manage accounts any more; make another "
                "one first, or repeat this with force=true (an operator can still run `tunesmith-server keys "
                "create --scope admin`)"
            )
            raise ApiError(409, "last_admin_key", message, "force", headers={"x-should-retry": "false"})
    try:
        yield
    except ApiError as error:
        if error.status < 500:  # refused; without an answer the command may still take
            await release(pool, id)
        raise
