"""Who asks: a bearer key, known by its SHA-256 only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import asyncpg
import msgspec
import structlog
from msgspec import Struct

from app.api.errors import ApiError
from app.database import DATABASE_ERRORS
from app.domain.accounts import Limits
from app.keys import hash_api_key

# With the read model's lag, revocation and suspension are heard of within a second.
KNOWN_SECONDS = 0.5
LOOKED_AT_SECONDS = 0.4
MOST_KNOWN = 10_000
KEY_QUERY = """
SELECT k.id, k.account_id, k.scopes, k.expires_at, k.revoked_at, a.suspended, a.limits
FROM api_keys k JOIN accounts a ON a.id = k.account_id
WHERE k.sha256 = $1
"""
STILL_GOOD = """
SELECT k.id FROM api_keys k JOIN accounts a ON a.id = k.account_id
WHERE k.id = ANY($1::text[]) AND k.revoked_at IS NULL AND NOT a.suspended
AND (k.expires_at IS NULL OR k.expires_at > $2)
"""

logger = structlog.get_logger("api")


class Caller(Struct, frozen=True):
    """The account and key of a request, and what limits the account has of its own."""

    account_id: str
    key_id: str
    scopes: frozenset[str]
    limits: Limits = Limits()

    @property
    def actor(self) -> str:
        """As events name it."""
        return f"key:{self.key_id}"

    @property
    def admin(self) -> bool:
        """Whether it manages accounts."""
        return "admin" in self.scopes

    def has(self, scope: str) -> bool:
        """Whether it may do what asks for this scope."""
        return scope in self.scopes or self.admin


class Key(Struct, frozen=True):
    """A key as the read model has it."""

    caller: Caller
    expires_at: datetime | None
    revoked: bool
    suspended: bool

    def admit(self, scope: str) -> Caller:
        """The caller, who must have `scope`. Raises `ApiError` 401 or 403."""
        if self.revoked:
            raise _unknown("this API key is not known; ask your operator for one")
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            raise _unknown("this API key has expired; ask your operator for a new one")
        if self.suspended:
            raise ApiError(403, "account_suspended", "Account suspended; ask your operator")
        if not self.caller.has(scope):
            raise ApiError(403, "missing_scope", f"this API key lacks the scope {scope!r}")
        return self.caller


class Open(Struct, frozen=True, eq=False):
    """Something that lasts as long as its key is good, and how to end it."""

    key_id: str
    end: Callable[[], None]


class Keys:
    """The API keys in the read model; what was found is believed for half a second."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known: dict[str, tuple[float, Key]] = {}
        self._open: set[Open] = set()

    async def find(self, authorization: str | None) -> Key:
        """The key of a request, whatever it is still worth. Raises `ApiError` 401."""
        if not authorization:
            raise _unknown("no API key: send the header `Authorization: Bearer sk-…`")
        kind, _, key = authorization.partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            raise _unknown("the Authorization header must be `Bearer sk-…`")
        found = await self._find(hash_api_key(key.strip()))
        if found is None:
            raise _unknown("this API key is not known; ask your operator for one")
        return found

    def remembered(self, authorization: bytes | None) -> Caller | None:
        """Whose key of a request this is, if it was looked up lately; it may be worth nothing by now."""
        kind, _, key = (authorization or b"").partition(b" ")
        if kind.lower() != b"bearer":
            return None
        kept = self._known.get(hash_api_key(key.strip().decode("latin-1")))
        return kept[1].caller if kept is not None else None

    async def still_good(self, ids: Collection[str]) -> set[str]:
        """Those of these keys that are neither revoked nor expired, nor of a suspended account."""
        rows = await self._pool.fetch(STILL_GOOD, list(ids), datetime.now(UTC))
        return {row["id"] for row in rows}

    async def readmit(self, caller: Caller, admitted_at: float) -> None:
        """Look at a key again when its request has taken a while since. Raises `ApiError` 401."""
        if time.monotonic() - admitted_at < KNOWN_SECONDS or await self.still_good([caller.key_id]):
            return
        raise no_longer_good()

    @contextmanager
    def while_good(self, key_id: str, end: Callable[[], None]) -> Iterator[None]:
        """While this lasts, the key is looked at; once it is no longer good, `end` is called."""
        lasting = Open(key_id, end)
        self._open.add(lasting)
        try:
            yield
        finally:
            self._open.discard(lasting)

    async def keep_looking(self) -> None:
        """End what is open under keys that are no longer good, until cancelled."""
        while True:
            await asyncio.sleep(LOOKED_AT_SECONDS)
            if not (lasting := list(self._open)):
                continue
            try:
                good = await self.still_good({one.key_id for one in lasting})
            except DATABASE_ERRORS as error:
                logger.warning("keys_unknown", error=repr(error))
                continue
            for one in lasting:
                if one.key_id not in good and one in self._open:
                    one.end()

    async def _find(self, digest: str) -> Key | None:
        now = time.monotonic()
        kept = self._known.get(digest)
        if kept is not None and now - kept[0] < KNOWN_SECONDS:
            return kept[1]
        row = await self._pool.fetchrow(KEY_QUERY, digest)
        if row is None:  # a key that was made just now is asked for again
            self._known.pop(digest, None)
            return None
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        found = _key(row)
        self._known[digest] = (now, found)
        return found


def _key(row: asyncpg.Record) -> Key:
    limits = msgspec.json.decode(row["limits"], type=Limits)
    caller = Caller(row["account_id"], row["id"], frozenset(row["scopes"]), limits)
    return Key(caller, row["expires_at"], row["revoked_at"] is not None, row["suspended"])


def no_longer_good() -> ApiError:
    """The refusal of what its key has not outlived."""
    return _unknown("this API key was revoked, has expired or its account was suspended meanwhile")


def _unknown(message: str) -> ApiError:
    return ApiError(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
