"""What the operator does, told in the audit log beside the events that tell of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import typer

from app.settings import Settings

Result = TypeVar("Result")

ADD = """
INSERT INTO ops.audit (id, at, account_id, actor, action, outcome, status, code, target, request_id, count)
VALUES ($1, now(), $2, $3, $4, $5, $6, $7, $8, $9, 1)
"""


async def audited(
    found: Settings, action: str, work: Awaitable[Result], *, account: str | None = None, target: str = ""
) -> Result:
    """What the work gives, told under an operation's id.

    Where no `target` is named it is what the work made: the id it gives, or the first of what it gives.
    """
    from app.keys import Refused

    try:
        result = await work
    except Refused:
        await _tell(found, action, account, target, 400, "refused")
        raise
    made = result[0] if isinstance(result, tuple) else getattr(result, "id", "")
    await _tell(found, action, account, target or str(made), 200)
    return result


async def _tell(
    found: Settings, action: str, account: str | None, target: str, status: int, code: str | None = None
) -> None:
    """A row; without a database, or before there is its table, a sentence on stderr."""
    from uuid import uuid4

    import asyncpg

    from app.domain.ids import derive_id
    from app.keys import OPERATOR

    request_id = f"req-{uuid4().hex}"
    id, outcome = derive_id("audit", request_id), "done" if status < 400 else "refused"
    row: list[Any] = [id, account, OPERATOR, action, outcome, status, code, target or None, request_id]
    try:
        connection = await asyncpg.connect(found.database, timeout=5)
        try:
            await connection.execute(ADD, *row)
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        typer.echo(f"tunesmith-server: this is not in the audit log: {error}", err=True)
