"""Who asks: a bearer key, known by its SHA-256 only."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import asyncpg
from msgspec import Struct

from app.api.errors import ApiError
from app.api.limits import WINDOW, WINDOW_SECONDS, Window

KEY_QUERY = f"""
SELECT k.id, k.account_id, k.scopes, k.expires_at, k.revoked_at, a.suspended, w.taken, w.reset
FROM api_keys k
JOIN accounts a ON a.id = k.account_id
CROSS JOIN LATERAL ({WINDOW.replace("$1", "k.account_id")}) AS w
WHERE k.sha256 = $1
"""


class Caller(Struct, frozen=True):
    """The account and key of a request."""

    account_id: str
    key_id: str
    scopes: frozenset[str]
    window: Window

    @property
    def actor(self) -> str:
        """As events name it."""
        return f"key:{self.key_id}"


async def caller_of(pool: asyncpg.Pool, authorization: str | None, scope: str) -> Caller:
    """The caller, who must have `scope`. Raises `ApiError` 401 or 403."""
    if not authorization:
        raise _unknown("no API key: send the header `Authorization: Bearer sk-…`")
    kind, _, key = authorization.partition(" ")
    if kind.lower() != "bearer" or not key.strip():
        raise _unknown("the Authorization header must be `Bearer sk-…`")
    digest = hashlib.sha256(key.strip().encode()).hexdigest()
    found = await pool.fetchrow(KEY_QUERY, digest, WINDOW_SECONDS)
    if found is None or found["revoked_at"] is not None:
        raise _unknown("this API key is not known; ask your operator for one")
    if found["expires_at"] is not None and found["expires_at"] <= datetime.now(UTC):
        raise _unknown("this API key has expired; ask your operator for a new one")
    if found["suspended"]:
        raise ApiError(403, "account_suspended", "Account suspended; ask your operator")
    window = Window(found["taken"], found["reset"])
    caller = Caller(found["account_id"], found["id"], frozenset(found["scopes"]), window)
    if scope not in caller.scopes and "admin" not in caller.scopes:
        raise ApiError(403, "missing_scope", f"this API key lacks the scope {scope!r}")
    return caller


def _unknown(message: str) -> ApiError:
    return ApiError(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
