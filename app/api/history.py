"""A tuning's events in the read model, page by page, for every face of the api."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from app.api.errors import invalid
from app.api.kept_events import read_body
from app.api.reading import the_tuning
from app.api.requests import is_count
from app.api.schemas.errors import RequestFault
from app.api.session import Session
from app.domain.tunings import TUNINGS

LARGEST_VERSION = 2**31 - 1


class Happened(Struct, frozen=True):
    """An event of a tuning, the `version`-th."""

    id: str
    version: int
    at: datetime
    body: Any


async def newest_events(
    session: Session, id: str, *, limit: int, after: str | None, kind: type | None = None
) -> list[Happened]:
    """Events of the account's tuning, newest first, behind the one with the id `after`, of one kind if given.

    One more than `limit`, when there is. Raises `ApiError` 400 or 404.
    """
    before = version_in(id, after) if after is not None else LARGEST_VERSION
    await the_tuning(session, id)
    rows = await session.service.pool.fetch(
        "SELECT version, type, at, body FROM tuning_events WHERE tuning_id = $1 AND version < $2 "
        "AND ($3::text IS NULL OR type = $3) ORDER BY version DESC LIMIT $4",
        id,
        before,
        next((name for name, one in TUNINGS.events.items() if one is kind), None),
        limit + 1,
    )
    return [Happened(f"{id}:{row['version']}", row["version"], row["at"], read_body(row)) for row in rows]


def version_in(id: str, event: str, param: str = "after") -> int:
    """The version in the id of a tuning's event, which came as `param`. Raises `ApiError` 400."""
    tuning_id, _, version = event.rpartition(":")
    if tuning_id != id or not is_count(version):
        raise invalid([RequestFault(param, f"{param} must be the id of an event of {id}, as `{id}:1`")])
    return min(int(version), LARGEST_VERSION)
