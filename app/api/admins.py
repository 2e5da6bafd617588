"""The installation's admin keys: who has none left could manage no account any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.api.errors import ApiError
from app.api.session import Session

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('admin keys', 0))"
OTHERS = """
SELECT EXISTS (
    SELECT FROM api_keys k JOIN accounts a ON a.id = k.account_id
    WHERE 'admin' = ANY(k.scopes) AND k.revoked_at IS NULL AND NOT a.suspended
    AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    AND k.id IS DISTINCT FROM $1 AND a.id IS DISTINCT FROM $2
)
"""


@asynccontextmanager
async def an_admin_stays(
    session: Session, *, without_key: str | None = None, without_account: str | None = None, force: bool
) -> AsyncIterator[None]:
    """While a key or account is taken out of use: refuse when no admin key would be left.

    Two at once could each take the other for the one that stays, so they take turns: within this process by
    a lock, for whoever waits in PostgreSQL holds a connection. Raises `ApiError` 409.
    """
    if force:
        yield
        return
    service = session.service
    async with (
        service.keys.changing_admins,
        service.pool.acquire() as connection,
        connection.transaction(),
    ):
        await connection.execute(LOCK)
        if not await connection.fetchval(OTHERS, without_key, without_account):
            message = (
                "no other admin key would be left, and nobody could manage accounts any more; make another "
                "one first, or repeat this with force=true (an operator can still run `tunesmith-server keys "
                "create --scope admin`)"
            )
            raise ApiError(409, "last_admin_key", message, "force", headers={"x-should-retry": "false"})
        yield
