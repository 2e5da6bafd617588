"""The accounts, for admins; and for everyone the own one."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from msgspec.structs import asdict

from app.api.admins import an_admin_stays
from app.api.decisions import decided
from app.api.errors import ApiError, invalid, missing
from app.api.limits import WINDOW_SECONDS, release
from app.api.requests import After, Force, Limit, json_object, read_fields
from app.api.schemas.accounts import (
    AccountObject,
    AccountRequest,
    AccountUpdate,
    Usage,
    account_view,
    changed_limits,
)
from app.api.schemas.errors import RequestFault
from app.api.schemas.pages import Page, page
from app.api.session import Authenticated, Session
from app.domain.accounts import (
    ACCOUNTS,
    Account,
    Limits,
    OpenAccount,
    ReinstateAccount,
    RenameAccount,
    SetLimits,
    SuspendAccount,
)
from app.keys import account_id

SHOWN = f"""
SELECT a.state,
    (SELECT count(*) FROM tunings t WHERE t.account_id = a.id AND t.status = 'running') AS running_tunings,
    (SELECT count(*) FROM tunings t WHERE t.account_id = a.id AND t.status = 'pending') AS waiting_tunings,
    (SELECT coalesce(sum(f.bytes), 0) FROM files f WHERE f.account_id = a.id AND f.status <> 'deleted')
        AS stored_bytes,
    (SELECT count(*) FROM ops.creates c WHERE c.account_id = a.id
        AND c.at > clock_timestamp() - interval '{WINDOW_SECONDS} seconds') AS creates_last_minute
FROM accounts a
"""


@post(
    "/v1/accounts.create",
    operation_id="createAccount",
    answer_headers=("location",),
    scope="admin",
    body=AccountRequest,
    answers=(202,),
)
async def create(request: Request[Any, Any, Any], session: Authenticated) -> Response[AccountObject]:
    """Open an account; it has no key yet: make one with `keys.create` and `account`."""
    values, faults = read_fields(AccountRequest, (await json_object(request))[0])
    if faults:
        raise invalid(faults)
    name = values["name"]
    id = account_id(name)
    await _name_is_free(session, name, id)
    command = OpenAccount(name, fresh=True, limits=changed_limits(Limits(), values.get("limits")))
    answer = await _changed(session, id, command, status=201, certain=False)  # again, it would be refused
    answer.headers["location"] = f"/v1/accounts.get/{id}"
    return answer


@get("/v1/accounts.list", operation_id="listAccounts", scope="admin")
async def list_accounts(
    session: Authenticated, limit: Limit = 20, after: After = None
) -> Page[AccountObject]:
    """All accounts, newest first."""
    pool = session.service.pool
    behind, arguments = "", []
    if after is not None:
        last = await pool.fetchval("SELECT created_at FROM accounts WHERE id = $1", after)
        if last is None:
            raise invalid([RequestFault("after", f"there is no account {after!r} to go on behind")])
        behind, arguments = "WHERE (a.created_at, a.id) < ($1, $2)", [last, after]
    rows = await pool.fetch(
        f"{SHOWN} {behind} ORDER BY a.created_at DESC, a.id DESC LIMIT {limit + 1}", *arguments
    )
    return page([_shown(session, row) for row in rows], limit)


@get("/v1/accounts.current", operation_id="getCurrentAccount", scope="read")
async def current(session: Authenticated) -> AccountObject:
    """The account that the key belongs to, with its limits and what it has of them."""
    return await _the_account(session, session.caller.account_id)


@get("/v1/accounts.get/{id:str}", operation_id="getAccount", scope="admin")
async def retrieve(session: Authenticated, id: FromPath[str]) -> AccountObject:
    """One account."""
    return await _the_account(session, id)


@post(
    "/v1/accounts.update/{id:str}",
    status_code=200,
    operation_id="updateAccount",
    scope="admin",
    body=AccountUpdate,
    answers=(202,),
)
async def update(
    request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]
) -> Response[AccountObject]:
    """Give an account another name or other limits. Its id stays, and what is stored or runs stays too."""
    known = await _the_account(session, id)
    values, faults = read_fields(AccountUpdate, (await json_object(request))[0])
    if faults:
        raise invalid(faults)
    answer = Response(known)
    if values.get("name") is not None:
        await _name_is_free(session, values["name"], id)
    if values.get("limits") is not None:
        limits = changed_limits(known.limits, values["limits"])
        answer = await _changed(session, id, SetLimits(**asdict(limits)))
    if values.get("name") is not None:
        answer = await _changed(session, id, RenameAccount(values["name"]))
    return answer


@post(
    "/v1/accounts.suspend/{id:str}",
    status_code=200,
    operation_id="suspendAccount",
    scope="admin",
    answers=(202,),
)
async def suspend(session: Authenticated, id: FromPath[str], force: Force = False) -> Response[AccountObject]:
    """Refuse everything an account asks for, within a second; running tunings finish, waiting ones wait.

    The account with the installation's last admin key is suspended with `force` only.
    """
    known = await _the_account(session, id)
    async with an_admin_stays(session, id, force=force or known.suspended):
        return await _changed(session, id, SuspendAccount())


@post(
    "/v1/accounts.reinstate/{id:str}",
    status_code=200,
    operation_id="reinstateAccount",
    scope="admin",
    answers=(202,),
)
async def reinstate(session: Authenticated, id: FromPath[str]) -> Response[AccountObject]:
    """End a suspension."""
    await _the_account(session, id)
    answer = await _changed(session, id, ReinstateAccount())
    await release(session.service.pool, id)  # its admin keys count again
    return answer


async def _the_account(session: Session, id: str) -> AccountObject:
    row = await session.service.pool.fetchrow(f"{SHOWN} WHERE a.id = $1", id)
    if row is None:
        raise missing("account", id)
    return _shown(session, row)


def _shown(session: Session, row: Any) -> AccountObject:
    account = msgspec.json.decode(row["state"], type=Account)
    usage = Usage(**{name: int(row[name]) for name in Usage.__struct_fields__})
    return account_view(account, usage, session.service.settings)


async def _changed(
    session: Session, id: str, command: Any, *, status: int = 200, certain: bool = True
) -> Response[AccountObject]:
    """The answer to a command, 202 where the read model does not show its effect yet."""
    reply, seen = await decided(session, ACCOUNTS, id, command, certain=certain)
    row = await session.service.pool.fetchrow(f"{SHOWN} WHERE a.id = $1", id)
    usage = _shown(session, row).usage if row is not None else Usage()
    account = msgspec.json.decode(reply.state, type=Account)
    view = account_view(account, usage, session.service.settings)
    return Response(view, status_code=status if seen else 202)


async def _name_is_free(session: Session, name: str, id: str) -> None:
    """Names tell people apart, ids everything else, so looking is enough. Raises `ApiError` 400, 409."""
    if account_id(name) == name:
        raise invalid([RequestFault("name", "a name must not look like an account's id")])
    if await session.service.pool.fetchval("SELECT id FROM accounts WHERE name = $1 AND id <> $2", name, id):
        message = f"another account has the name {name!r}"
        raise ApiError(409, "account_exists", message, "name", headers={"x-should-retry": "false"})


ROUTES = [create, list_accounts, current, retrieve, update, suspend, reinstate]
