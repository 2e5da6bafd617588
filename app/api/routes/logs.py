"""What the attempts of a tuning printed."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import FromPath, QueryParameter

from app.api.errors import ApiError
from app.api.reading import the_tuning
from app.api.schemas.logs import AttemptLog
from app.api.session import Authenticated
from app.storage.logs import logged_attempts, read_log


@get("/v1/tunings.logs/{id:str}", operation_id="getTuningLog", scope="read")
async def log(
    session: Authenticated,
    id: FromPath[str],
    attempt: Annotated[
        int | None,
        QueryParameter(ge=1, le=2**31 - 1, description="Of this attempt; else of the newest that has a log."),
    ] = None,
) -> AttemptLog:
    """What an attempt's training process printed; there is a log once the attempt is over."""
    await the_tuning(session, id)
    store = session.service.store
    attempts = await logged_attempts(store, id)
    asked = attempt if attempt is not None else max(attempts, default=None)
    kept = await read_log(store, id, asked) if asked is not None else None
    if asked is None or kept is None:
        which = "any attempt" if attempt is None else f"attempt {attempt}"
        raise ApiError(404, "not_found", f"there is no log of {which} of {id} yet", "attempt")
    text, truncated = kept
    return AttemptLog(attempt=asked, attempts=attempts, text=text, truncated=truncated)


ROUTES = [log]
