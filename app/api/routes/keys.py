"""The API keys: created, listed, rotated, revoked. An admin's key manages those of every account."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath
from msgspec.structs import replace

from app.api.admins import an_admin_stays
from app.api.decisions import decided, made_id
from app.api.errors import ApiError, invalid, missing
from app.api.requests import After, ForAccount, Force, Limit, json_object, optional_object, read_fields
from app.api.schemas.errors import RequestFault
from app.api.schemas.keys import KeyObject, KeyRequest, RotationRequest, held_key_view, key_view
from app.api.schemas.pages import Page, page
from app.api.session import Authenticated, Session
from app.domain.accounts import ACCOUNTS, Account, RevokeKey
from app.keys import new_key, replacement


@post(
    "/v1/keys.create",
    operation_id="createKey",
    answer_headers=("location",),
    scope="write",
    body=KeyRequest,
    answers=(202,),
    secret="key",  # noqa: S106 — the name of a field
)
async def create(request: Request[Any, Any, Any], session: Authenticated) -> Response[KeyObject]:
    """Create a key: its secret, `key`, is in this answer only. A key grants only scopes it has itself."""
    values, faults = read_fields(KeyRequest, (await json_object(request))[0])
    account_id = values.get("account") or session.caller.account_id
    if "scopes" in values:
        _may_handle(session, values["scopes"], "grant")
    if account_id != session.caller.account_id:
        only_admins_name_accounts(session)
        if not await _account_exists(session, account_id):
            faults.append(RequestFault("account", f"there is no account {account_id!r}", "account_not_found"))
    if faults:
        raise invalid(faults)
    lifetime = values.get("expires_in")
    expires_at = datetime.now(UTC) + timedelta(seconds=lifetime) if lifetime is not None else None
    scopes = tuple(dict.fromkeys(values["scopes"]))
    command, secret = new_key(made_id(session, "key"), values["name"], scopes, expires_at)
    return await _made(session, account_id, command.key_id, command, secret)


@get("/v1/keys.list", operation_id="listKeys", scope="read")
async def list_keys(
    session: Authenticated, limit: Limit = 20, after: After = None, account: ForAccount = None
) -> Page[KeyObject]:
    """The account's keys, newest first, never their secrets; of those revoked or expired only the latest."""
    account_id = account or session.caller.account_id
    if account_id != session.caller.account_id:
        only_admins_name_accounts(session)
    pool = session.service.pool
    behind, arguments = "", [account_id]
    if after is not None:
        last = await pool.fetchval(
            "SELECT created_at FROM api_keys WHERE id = $1 AND account_id = $2", after, account_id
        )
        if last is None:
            raise invalid([RequestFault("after", f"there is no key {after!r} to go on behind")])
        behind, arguments = "AND (created_at, id) < ($2, $3)", [account_id, last, after]
    rows = await pool.fetch(
        f"SELECT * FROM api_keys WHERE account_id = $1 {behind} "
        f"ORDER BY created_at DESC, id DESC LIMIT {limit + 1}",
        *arguments,
    )
    now = datetime.now(UTC)
    return page([key_view(row, now) for row in rows], limit)


@get("/v1/keys.get/{id:str}", operation_id="getKey", scope="read")
async def retrieve(session: Authenticated, id: FromPath[str]) -> KeyObject:
    """One key, never its secret."""
    return key_view(await _the_key(session, id), datetime.now(UTC))


@delete("/v1/keys.revoke/{id:str}", status_code=200, operation_id="revokeKey", scope="write")
async def revoke(session: Authenticated, id: FromPath[str], force: Force = False) -> KeyObject:
    """Make a key worthless within a second; one that is revoked stays so.

    The installation's last admin key is revoked with `force` only.
    """
    row = await _the_key(session, id)
    _may_handle(session, row["scopes"], "revoke")
    counts = "admin" in row["scopes"] and row["revoked_at"] is None
    async with an_admin_stays(session, id, force=force or not counts):
        reply, _ = await decided(session, ACCOUNTS, row["account_id"], RevokeKey(id), certain=True)
    account = msgspec.json.decode(reply.state, type=Account)
    return held_key_view(account, id, datetime.now(UTC))


@post(
    "/v1/keys.rotate/{id:str}",
    operation_id="rotateKey",
    answer_headers=("location",),
    scope="write",
    body=RotationRequest,
    body_required=False,
    answers=(202,),
    secret="key",  # noqa: S106 — the name of a field
)
async def rotate(
    request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]
) -> Response[KeyObject]:
    """Replace a key by a new one of the same name, scopes and lifetime; its secret is in this answer only."""
    row = await _the_key(session, id)
    _may_handle(session, row["scopes"], "rotate")
    values, faults = read_fields(RotationRequest, await optional_object(request))
    if faults:
        raise invalid(faults)
    command, secret = replacement(id, made_id(session, "key"), values.get("keep_seconds", 0))
    return await _made(session, row["account_id"], command.new_key_id, command, secret)


async def _made(
    session: Session, account_id: str, key_id: str, command: Any, secret: str
) -> Response[KeyObject]:
    """The answer to a command that made a key."""
    reply, seen = await decided(session, ACCOUNTS, account_id, command, certain=False)
    account = msgspec.json.decode(reply.state, type=Account)
    # An earlier try may have been decided, with a secret that was lost with its answer.
    ours = any(key.id == key_id and key.sha256 == command.sha256 for key in account.keys)
    told = replace(held_key_view(account, key_id, datetime.now(UTC)), key=secret if ours else None)
    headers = {"location": f"/v1/keys.get/{key_id}"}
    return Response(told, status_code=201 if seen else 202, headers=headers)


async def _the_key(session: Session, id: str) -> Any:
    """The row of a key that is the caller's to see. Raises `ApiError` 404."""
    row = await session.service.pool.fetchrow(
        "SELECT * FROM api_keys WHERE id = $1 AND ($2 OR account_id = $3)",
        id,
        session.caller.admin,
        session.caller.account_id,
    )
    if row is None:
        raise missing("key", id)
    return row


async def _account_exists(session: Session, id: str) -> bool:
    return bool(await session.service.pool.fetchval("SELECT true FROM accounts WHERE id = $1", id))


def _may_handle(session: Session, scopes: Collection[str], verb: str) -> None:
    """Whoever rotated a mightier key would become as mighty. Raises `ApiError` 403."""
    if lacking := [scope for scope in scopes if not session.caller.has(scope)]:
        message = f"this API key lacks the scope {lacking[0]!r} and cannot {verb} a key that has it"
        raise ApiError(403, "missing_scope", message, "scopes" if verb == "grant" else None)


def only_admins_name_accounts(session: Session) -> None:
    """Raises `ApiError` 403 for everyone else."""
    if not session.caller.admin:
        message = "only a key with the scope 'admin' may name another account"
        raise ApiError(403, "missing_scope", message, "account")


ROUTES = [create, list_keys, retrieve, revoke, rotate]
