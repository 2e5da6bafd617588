"""What happened to a tuning, as a page and as a stream."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import FromPath, HeaderParameter
from litestar.types import ASGIApp

from app.api.history import version_in
from app.api.kept_events import read_body
from app.api.reading import the_tuning
from app.api.requests import NO_NUL, After, Limit
from app.api.schemas.pages import Page, page
from app.api.session import Authenticated
from app.domain.telling import TuningEvent, event_view

STREAM = "text/event-stream"

LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        max_length=256,
        pattern=NO_NUL,
        description="Of a stream: the id of the last event that came; wins over `after`.",
    ),
]


class Streamed(Response[Any]):
    """An answer that is written by an app of its own."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(None)
        self._app = app

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]
        return self._app


@get(
    "/v1/tunings.events/{id:str}",
    operation_id="listTuningEvents",
    scope="read",
    stream="Server-sent events. Of an event: `id` is its id, `event` its type, `data` a TuningEvent. "
    "Of a step: no `id`, `event` is `metrics`, `data` a StepMetrics. Comments show that all is well.",
)
async def events(
    request: Request[Any, Any, Any],
    session: Authenticated,
    id: FromPath[str],
    limit: Limit = 20,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Response[Page[TuningEvent]]:
    """What happened to a tuning, oldest first; `after` is an event's id.

    With `Accept: text/event-stream` it is a stream, which goes on as things happen and closes once the tuning
    has ended: every event behind `Last-Event-ID`, each once and in order, and the steps taken from now on;
    a step that is evaluated comes again with its `eval_loss`.
    """
    streamed = accepts_stream(request.headers.get("accept", ""))
    if streamed and last_event_id:
        behind = version_in(id, last_event_id, "Last-Event-ID")
    else:
        behind = version_in(id, after) if after is not None else 0
    await the_tuning(session, id)
    if streamed:
        return Streamed(partial(session.service.streams.tell, id, behind, session.caller.key_id))
    rows = await session.service.pool.fetch(
        "SELECT version, type, at, body FROM tuning_events WHERE tuning_id = $1 AND version > $2 "
        "ORDER BY version LIMIT $3",
        id,
        behind,
        limit + 1,
    )
    shown = [event_view(id, row["version"], row["at"], read_body(row)) for row in rows]
    return Response(page(shown, limit))


def accepts_stream(accept: str) -> bool:
    """Whether a stream is asked for by its name."""
    return any(one.partition(";")[0].strip().lower() == STREAM for one in accept.split(","))


ROUTES = [events]
