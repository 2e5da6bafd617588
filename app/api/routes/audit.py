"""The audit log, to be read: all of it by admins, the own account's by everyone else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import get
from litestar.params import QueryParameter

from app.api.errors import invalid
from app.api.requests import NO_NUL, After, ForAccount, Limit
from app.api.routes.keys import only_admins_name_accounts
from app.api.schemas.audit import AuditEntry, audit_view
from app.api.schemas.errors import RequestFault
from app.api.schemas.pages import Page, page
from app.api.session import Authenticated


@get("/v1/audit.list", operation_id="listAuditEntries", scope="read", audit="admins")
async def list_entries(
    session: Authenticated,
    limit: Limit = 20,
    after: After = None,
    action: Annotated[
        str | None, QueryParameter(max_length=64, pattern=NO_NUL, description="Only this operation.")
    ] = None,
    outcome: Annotated[
        Literal["done", "refused", "failed"] | None, QueryParameter(description="Only these.")
    ] = None,
    account: ForAccount = None,
) -> Page[AuditEntry]:
    """What was refused and what was changed, newest first. An admin who names no account sees all."""
    if account is not None and account != session.caller.account_id:
        only_admins_name_accounts(session)
    if account is None and not session.caller.admin:
        account = session.caller.account_id
    conditions: list[str] = []
    arguments: list[Any] = []
    for column, value in (("account_id", account), ("action", action), ("outcome", outcome)):
        if value is not None:
            arguments.append(value)
            conditions.append(f"{column} = ${len(arguments)}")
    if after is not None:
        last = await session.service.pool.fetchval(
            "SELECT at FROM ops.audit WHERE id = $1 AND ($2::text IS NULL OR account_id = $2)", after, account
        )
        if last is None:
            raise invalid([RequestFault("after", f"there is no entry {after!r} to go on behind")])
        arguments += [last, after]
        conditions.append(f"(at, id) < (${len(arguments) - 1}, ${len(arguments)})")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = await session.service.pool.fetch(
        f"SELECT * FROM ops.audit {where} ORDER BY at DESC, id DESC LIMIT {limit + 1}", *arguments
    )
    return page([audit_view(row) for row in rows], limit)


ROUTES = [list_entries]
