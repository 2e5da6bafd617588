"""Who asks: a bearer key, known by its SHA-256 only."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime

import asyncpg
from msgspec import Struct

from app.api.errors import ApiError

KNOWN_SECONDS = 0.5  # revocation and suspension are heard of within a second, with the read model's lag
MOST_KNOWN = 10_000
KEY_QUERY = """
SELECT k.id, k.account_id, k.scopes, k.expires_at, k.revoked_at, a.suspended
FROM api_keys k JOIN accounts a ON a.id = k.account_id
WHERE k.sha256 = $1
"""


class Caller(Struct, frozen=True):
    """The account and key of a request."""

    account_id: str
    key_id: str
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """As events name it."""
        return f"key:{self.key_id}"


class Keys:
    """The API keys in the read model; what was found is believed for half a second."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known: dict[str, tuple[float, asyncpg.Record]] = {}

    async def caller_of(self, authorization: str | None, scope: str) -> Caller:
        """The caller, who must have `scope`. Raises `ApiError` 401 or 403."""
        if not authorization:
            raise _unknown("no API key: send the header `Authorization: Bearer sk-…`")
        kind, _, key = authorization.partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            raise _unknown("the Authorization header must be `Bearer sk-…`")
        found = await self._find(hashlib.sha256(key.strip().encode()).hexdigest())
        if found is None or found["revoked_at"] is not None:
            raise _unknown("this API key is not known; ask your operator for one")
        if found["expires_at"] is not None and found["expires_at"] <= datetime.now(UTC):
            raise _unknown("this API key has expired; ask your operator for a new one")
        if found["suspended"]:
            raise ApiError(403, "account_suspended", "Account suspended; ask your operator")
        caller = Caller(found["account_id"], found["id"], frozenset(found["scopes"]))
        if scope not in caller.scopes and "admin" not in caller.scopes:
            raise ApiError(403, "missing_scope", f"this API key lacks the scope {scope!r}")
        return caller

    async def _find(self, digest: str) -> asyncpg.Record | None:
        now = time.monotonic()
        at, found = self._known.get(digest, (0.0, None))
        if found is not None and now - at < KNOWN_SECONDS:
            return found
        found = await self._pool.fetchrow(KEY_QUERY, digest)
        if found is None:  # a key that was made just now is asked for again
            self._known.pop(digest, None)
            return None
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[digest] = (now, found)
        return found


def _unknown(message: str) -> ApiError:
    return ApiError(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
