"""A POST under an Idempotency-Key: a repeat gets the first one's answer, and waits for it if it must.

The first request claims the key by a row, not by a lock: a lock would hold a connection for each request, and
a pool of them would wait for each other. A claim whose process died lapses; the command ids that derive from
the key keep what that process did from being done twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import structlog
from litestar import Request, Response
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct
from msgspec.structs import replace

from app.api.edge import LIMITS, REPLAYED
from app.api.errors import ApiError, invalid, unavailable
from app.api.requests import canonical, whole_body
from app.api.schemas.errors import RequestFault
from app.api.session import Session
from app.database import DATABASE_ERRORS
from app.domain.ids import derive_id

LONGEST_KEY = 255
KEPT_SECONDS = 24 * 3600
LEASE_SECONDS = 30.0  # of a claim, which is renewed in time as long as its request is worked on
WAITS_SECONDS = 40.0
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.2
CLAIM = "idempotency_claim"
NOT_KEPT = {"x-request-id", "date", "content-length"}

# A lost claim or answer costs nothing that the command ids do not save: no commit waits for the disk.
QUICK = "WITH quick AS (SELECT set_config('synchronous_commit', 'off', true))"
TAKE = f"""
{QUICK}
INSERT INTO ops.idempotency AS i (account_id, key, request_hash, claim, claimed_until, expires_at)
SELECT $1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5),
    clock_timestamp() + make_interval(secs => $6) FROM quick
ON CONFLICT (account_id, key) DO UPDATE SET
    request_hash = excluded.request_hash, claim = excluded.claim, claimed_until = excluded.claimed_until,
    expires_at = excluded.expires_at, status = NULL, headers = NULL, body = NULL
WHERE i.expires_at <= clock_timestamp() OR (i.status IS NULL AND i.claimed_until <= clock_timestamp())
RETURNING true
"""
KEPT = "SELECT request_hash, status, headers, body FROM ops.idempotency WHERE account_id = $1 AND key = $2"
KEEP = f"""
{QUICK}
UPDATE ops.idempotency SET status = $4, headers = $5, body = $6 FROM quick
WHERE account_id = $1 AND key = $2 AND claim = $3
"""
RENEW = f"""
{QUICK}
UPDATE ops.idempotency SET claimed_until = clock_timestamp() + make_interval(secs => $4) FROM quick
WHERE account_id = $1 AND key = $2 AND claim = $3 AND status IS NULL
"""
GIVE_UP = "DELETE FROM ops.idempotency WHERE account_id = $1 AND key = $2 AND claim = $3 AND status IS NULL"

logger = structlog.get_logger("api")


class Replayed(Exception):
    """The request was answered before, so."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


class Claim(Struct):
    """The right to answer the first request under a key; `secret` is a field of the answer never kept."""

    pool: asyncpg.Pool
    account_id: str
    key: str
    id: str
    secret: str | None
    renewing: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """Renew it until it is settled."""
        self.renewing = asyncio.create_task(self._renew())

    async def settle(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Keep an accepted answer; after a refusal, or none, the key is as if it had not been used."""
        if self.renewing is not None:
            self.renewing.cancel()
        try:
            if status < 300:
                told = msgspec.json.encode(headers).decode()
                await self.pool.execute(
                    KEEP, self.account_id, self.key, self.id, status, told, self._safe(body)
                )
            else:
                await self.pool.execute(GIVE_UP, self.account_id, self.key, self.id)
        except DATABASE_ERRORS as error:
            logger.warning("idempotency_unsettled", error=repr(error))  # the claim lapses

    async def _renew(self) -> None:
        renewed = "UPDATE 1"
        while renewed == "UPDATE 1":
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                renewed = await self.pool.execute(RENEW, self.account_id, self.key, self.id, LEASE_SECONDS)
            except DATABASE_ERRORS as error:
                logger.warning("idempotency_not_renewed", error=repr(error))

    def _safe(self, body: bytes) -> bytes:
        if self.secret is None:
            return body
        return msgspec.json.encode(msgspec.json.decode(body) | {self.secret: None})


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """The request's `Idempotency-Key`. Raises `ApiError` 400 when it is unusable."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= LONGEST_KEY:
        raise invalid(
            [RequestFault("Idempotency-Key", f"an Idempotency-Key has 1 to {LONGEST_KEY} characters")]
        )
    return key


async def before(request: Request[Any, Any, Any]) -> None:
    """The hook before every route: claim the key of a POST for its body. Raises `Replayed`, `ApiError`.

    A form is read by its route, which then calls `once` itself. A route that changes nothing says
    `idempotent=False`.
    """
    opt = request.route_handler.opt
    if request.method != "POST" or opt["scope"] is None or not opt.get("idempotent", True):
        return
    key = idempotency_key(request)
    form = (request.headers.get("content-type") or "").lower().startswith("multipart/form-data")
    if key is not None and not form:
        await once(request, canonical(await whole_body(request)))


async def once(request: Request[Any, Any, Any], body: bytes) -> Session:
    """Claim a request's key for this body; the session, which names the request from now on.

    Raises `Replayed` when it was answered before, `ApiError` 409 when it was for another request.
    """
    state = request.scope["state"]
    session: Session = state["session"]
    key = idempotency_key(request)
    if key is None:
        return session
    account_id = session.caller.account_id
    route = f"{request.method} {request.url.path}?{request.url.query}\n"
    digest = hashlib.sha256(route.encode() + body).hexdigest()
    secret = request.route_handler.opt.get("secret")
    claim = Claim(session.service.pool, account_id, key, uuid4().hex, secret)
    try:
        async with asyncio.timeout(WAITS_SECONDS):
            await _claimed(claim, digest)
    except TimeoutError as error:
        raise unavailable("the first request with this Idempotency-Key is still under way") from error
    except Replayed:
        state[REPLAYED] = True
        raise
    claim.hold()
    state[CLAIM] = claim
    state["session"] = named = replace(session, once=derive_id("once", account_id, key, digest))
    return named


async def _claimed(claim: Claim, digest: str) -> None:
    """Wait until the key is ours. Raises `Replayed`, `ApiError` 409."""
    pool, account_id, key = claim.pool, claim.account_id, claim.key
    pause = FIRST_PAUSE
    while not await pool.fetchval(TAKE, account_id, key, digest, claim.id, LEASE_SECONDS, KEPT_SECONDS):
        row = await pool.fetchrow(KEPT, account_id, key)
        if row is not None and row["status"] is not None:
            if row["request_hash"] != digest:
                message = "this Idempotency-Key was used before, for another request"
                raise ApiError(409, "idempotency_conflict", message, headers={"x-should-retry": "false"})
            raise Replayed(row["status"], msgspec.json.decode(row["headers"]), row["body"])
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def handle_replayed(_: Request[Any, Any, Any], replayed: Replayed) -> Response[bytes]:
    """The answer again."""
    headers = dict(replayed.headers)
    media = headers.pop("content-type", "application/json")
    return Response(replayed.body, status_code=replayed.status, headers=headers, media_type=media)


def settling(app: ASGIApp) -> ASGIApp:
    """Wrap the app: what answers a claim is kept before the client gets it."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = scope.setdefault("state", {})
        held: list[Message] = []

        async def kept(message: Message) -> None:
            if CLAIM not in state:
                return await send(message)
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                claim: Claim = state.pop(CLAIM)
                await claim.settle(*_answer(held, state.get(LIMITS, {})))
                for each in held:
                    await send(each)
            return None

        try:
            await app(scope, receive, kept)
        finally:
            if (claim := state.pop(CLAIM, None)) is not None:
                await claim.settle(500, {}, b"")

    return wrapped


def _answer(messages: list[Any], limits: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    start, *parts = messages
    told = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    body = b"".join(part.get("body", b"") for part in parts)
    headers = limits | {name: value for name, value in told.items() if name not in NOT_KEPT}
    return start["status"], headers, body
