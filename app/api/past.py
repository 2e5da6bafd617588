"""A tuning as it was: its first events folded again."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from app.api.errors import ApiError, invalid
from app.api.kept_events import read_body
from app.api.reading import the_tuning
from app.api.schemas.errors import RequestFault
from app.api.schemas.tunings import TuningJob, tuning_view
from app.api.session import Session
from app.domain.decider import Recorded, fold
from app.domain.tunings import TUNINGS
from app.log.history import moment


async def as_it_was(session: Session, id: str, version: int | None, as_of: str | None) -> TuningJob:
    """The tuning at a version, or at a time in Unix seconds or RFC 3339. Raises `ApiError` 400 or 404."""
    if version is not None and as_of is not None:
        raise invalid([RequestFault("as_of", "give as_of or as_of_version, not both")])
    at = _time(as_of) if as_of is not None else None
    newest = (await the_tuning(session, id)).version
    if version is not None and version > newest:
        message = f"tuning {id} is at version {newest}; there is no version {version} yet"
        raise invalid([RequestFault("as_of_version", message)])
    rows = await session.service.pool.fetch(
        "SELECT version, type, at, body FROM tuning_events WHERE tuning_id = $1 "
        "AND ($2::int IS NULL OR version <= $2) AND ($3::timestamptz IS NULL OR at <= $3) ORDER BY version",
        id,
        version,
        at,
    )
    if not rows:
        raise ApiError(404, "not_found", f"tuning {id} did not exist at that time", "as_of")
    tuning = fold(TUNINGS, ((read_body(row), Recorded(id, row["version"], row["at"])) for row in rows))
    # What happened inside a status is told while it happens, and not kept.
    return replace(tuning_view(tuning, rows[-1]["version"]), phase=None)


def _time(as_of: str) -> datetime:
    try:
        return moment(as_of)
    except ValueError as error:
        raise invalid([RequestFault("as_of", f"as_of: {error}")]) from error
