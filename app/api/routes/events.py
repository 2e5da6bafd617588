"""What happened to a tuning."""

from __future__ import annotations

from litestar import get
from litestar.params import FromPath

from app.api.errors import invalid
from app.api.past import read_body
from app.api.reading import the_tuning
from app.api.requests import After, Limit, is_count
from app.api.schemas.errors import RequestFault
from app.api.schemas.pages import Page, page
from app.api.session import Authenticated
from app.domain.telling import TuningEvent, event_view


@get("/v1/tunings.events/{id:str}", operation_id="listTuningEvents", scope="read")
async def events(
    session: Authenticated, id: FromPath[str], limit: Limit = 20, after: After = None
) -> Page[TuningEvent]:
    """What happened to a tuning, oldest first; `after` is an event's id."""
    behind = _behind(id, after)
    await the_tuning(session, id)
    rows = await session.service.pool.fetch(
        "SELECT version, type, at, body FROM tuning_events WHERE tuning_id = $1 AND version > $2 "
        "ORDER BY version LIMIT $3",
        id,
        behind,
        limit + 1,
    )
    return page([event_view(id, row["version"], row["at"], read_body(row)) for row in rows], limit)


def _behind(id: str, after: str | None) -> int:
    """The version in an event's id; 0 without one. Raises `ApiError` 400."""
    if after is None:
        return 0
    tuning_id, _, version = after.rpartition(":")
    if tuning_id != id or not is_count(version):
        raise invalid([RequestFault("after", f"after must be the id of an event of {id}, as `{id}:1`")])
    return min(int(version), 2**31 - 1)


ROUTES = [events]
