"""A tuning's checkpoints."""

from __future__ import annotations

from litestar import get
from litestar.params import FromPath

from app.api.history import newest_events
from app.api.requests import After, Limit
from app.api.schemas.checkpoints import TuningCheckpoint, checkpoint_view
from app.api.schemas.pages import Page, page
from app.api.session import Authenticated
from app.domain.tunings import CheckpointSaved


@get("/v1/tunings.checkpoints/{id:str}", operation_id="listTuningCheckpoints", scope="read")
async def checkpoints(
    session: Authenticated, id: FromPath[str], limit: Limit = 20, after: After = None
) -> Page[TuningCheckpoint]:
    """The checkpoints that a tuning saved, newest first."""
    saved = await newest_events(session, id, limit=limit, after=after, kind=CheckpointSaved)
    return page([checkpoint_view(each.id, each.at, each.body) for each in saved], limit)


ROUTES = [checkpoints]
