"""The account's tunings in the read model, for every face of the api."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from app.api.errors import invalid, missing
from app.api.schemas.errors import RequestFault
from app.api.schemas.tunings import Progress
from app.api.session import Session
from app.domain.tunings import Tuning
from app.log.metrics import Step

SHOWN = """
SELECT t.id, t.version, t.state, p.attempt, p.phase, p.detail, p.last_step, q.position, q.estimated_start
FROM tunings t
LEFT JOIN tuning_progress p ON p.tuning_id = t.id
LEFT JOIN queue q ON q.tuning_id = t.id
"""


class Found(Struct, frozen=True):
    """A tuning as its events made it, its version, and what is told beside them."""

    tuning: Tuning
    version: int
    told: Progress


async def find_tuning(session: Session, id: str) -> Found | None:
    """The account's tuning with this id."""
    row = await session.service.pool.fetchrow(
        f"{SHOWN} WHERE t.id = $1 AND t.account_id = $2", id, session.caller.account_id
    )
    return _found(row) if row is not None else None


async def the_tuning(session: Session, id: str) -> Found:
    """The account's tuning with this id. Raises `ApiError` 404."""
    found = await find_tuning(session, id)
    if found is None:
        raise missing("tuning", id)
    return found


async def list_tunings(
    session: Session,
    *,
    limit: int,
    after: str | None = None,
    status: str | None = None,
    metadata: Mapping[str, str] | None = None,
    without_metadata: bool = False,
) -> list[Found]:
    """The account's tunings, newest first, behind the one with the id `after`; one more than `limit`.

    Raises `ApiError` 400.
    """
    conditions, arguments = ["t.account_id = $1"], [session.caller.account_id]

    def narrow(condition: str, *values: Any) -> None:
        first = len(arguments) + 1
        arguments.extend(values)
        conditions.append(condition.format(*(f"${first + number}" for number in range(len(values)))))

    if status is not None:
        narrow("t.status = {}", status)
    if metadata:
        narrow("t.metadata @> {}::jsonb", msgspec.json.encode(metadata).decode())
    if without_metadata:
        narrow("t.metadata = '{{}}'")
    if after is not None:
        last = await session.service.pool.fetchval(
            "SELECT created_at FROM tunings WHERE id = $1 AND account_id = $2",
            after,
            session.caller.account_id,
        )
        if last is None:
            raise invalid([RequestFault("after", f"there is no tuning {after!r} to go on behind")])
        narrow("(t.created_at, t.id) < ({}, {})", last, after)
    rows = await session.service.pool.fetch(
        f"{SHOWN} WHERE {' AND '.join(conditions)} ORDER BY t.created_at DESC, t.id DESC LIMIT {limit + 1}",
        *arguments,
    )
    return [_found(row) for row in rows]


def metadata_filter(query: Mapping[str, str]) -> dict[str, str]:
    """The pairs of `metadata[k]=v` in a query. Raises `ApiError` 400 for a key that has keys itself."""
    pairs = {
        name[len("metadata[") : -1]: value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    names = [f"metadata[{key}]"[:64] for key in pairs if "][" in key]
    if names:
        said = "metadata has texts, and no keys within them"
        raise invalid([RequestFault(name, f"{name}: {said}") for name in names])
    return pairs


def _found(row: Any) -> Found:
    step = msgspec.json.decode(row["last_step"], type=Step) if row["last_step"] else None
    told = Progress(
        row["phase"], row["attempt"], step, row["position"], row["estimated_start"], row["detail"] or ""
    )
    return Found(msgspec.json.decode(row["state"], type=Tuning), row["version"], told)
