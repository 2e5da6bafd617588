"""The tunings in OpenAI's face: its stock clients do the whole job, told only another address and key."""

from __future__ import annotations

import time
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from app.api import reading
from app.api.changing import Change, changed
from app.api.creation import create_tuning
from app.api.errors import ApiError, invalid
from app.api.history import newest_events
from app.api.idempotency import idempotency_key
from app.api.requests import After, Limit, json_object
from app.api.schemas.errors import RequestFault
from app.api.schemas.openai.events import (
    FineTuningCheckpoint,
    FineTuningEvent,
    checkpoint_of,
    fine_tuning_event,
)
from app.api.schemas.openai.job import FineTuningJob, job_view
from app.api.schemas.openai.request import FineTuningJobRequest, in_their_words, understood
from app.api.schemas.pages import Page, page
from app.api.schemas.tunings import MetadataFilter
from app.api.session import Authenticated, Session
from app.domain.tunings import CancelTuning, EpochCompleted, PauseTuning, ResumeTuning

PATH = "/v1/fine_tuning/jobs"


@post(
    PATH,
    operation_id="createFineTuningJob",
    answer_headers=("location",),
    scope="write",
    body=FineTuningJobRequest,
    answers=(202,),
)
async def create(request: Request[Any, Any, Any], session: Authenticated) -> Response[FineTuningJob]:
    """Create a tuning: 201 with it, or 202 when it is accepted and not to be seen yet."""
    body, body_hash = await json_object(request)
    asked = understood(body)
    try:
        made = await create_tuning(session, asked.values, asked.faults, body_hash, idempotency_key(request))
    except ApiError as error:
        if error.faults:
            raise invalid([in_their_words(fault, asked.sources) for fault in error.faults]) from error
        raise
    headers = made.headers | {"location": f"{PATH}/{made.found.tuning.id}"}
    return Response(_shown(made.found), status_code=201 if made.seen else 202, headers=headers)


@get(
    PATH, operation_id="listFineTuningJobs", scope="read", deep_query=MetadataFilter, bare_query=("metadata",)
)
async def list_jobs(
    request: Request[Any, Any, Any], session: Authenticated, limit: Limit = 20, after: After = None
) -> Page[FineTuningJob]:
    """The account's tunings, newest first; `metadata[k]=v` narrows them, `metadata=null` to those without."""
    pairs = reading.metadata_filter(request.query_params)
    bare = request.query_params.get("metadata")
    if bare is not None and (bare != "null" or pairs):
        message = "metadata is metadata[k]=v, as often as you like, or the one word null"
        raise invalid([RequestFault("metadata", message)])
    found = await reading.list_tunings(
        session, limit=limit, after=after, metadata=pairs, without_metadata=bare is not None
    )
    return page([_shown(each) for each in found], limit)


@get(f"{PATH}/{{id:str}}", operation_id="getFineTuningJob", scope="read")
async def retrieve(session: Authenticated, id: FromPath[str]) -> FineTuningJob:
    """One tuning."""
    return _shown(await reading.the_tuning(session, id))


@post(
    f"{PATH}/{{id:str}}/cancel",
    status_code=200,
    operation_id="cancelFineTuningJob",
    scope="write",
    answers=(202,),
)
async def cancel(session: Authenticated, id: FromPath[str]) -> Response[FineTuningJob]:
    """End a tuning at once; one that is cancelled already stays so."""
    return await _changed(session, id, CancelTuning())


@post(
    f"{PATH}/{{id:str}}/pause",
    status_code=200,
    operation_id="pauseFineTuningJob",
    scope="write",
    answers=(202,),
)
async def pause(session: Authenticated, id: FromPath[str]) -> Response[FineTuningJob]:
    """Bring a running tuning to rest at a checkpoint and free its devices; one that rests stays so."""
    return await _changed(session, id, PauseTuning())


@post(
    f"{PATH}/{{id:str}}/resume",
    status_code=200,
    operation_id="resumeFineTuningJob",
    scope="write",
    answers=(202,),
)
async def resume(session: Authenticated, id: FromPath[str]) -> Response[FineTuningJob]:
    """Let a paused tuning go on from its last checkpoint."""
    return await _changed(session, id, ResumeTuning())


@get(f"{PATH}/{{id:str}}/events", operation_id="listFineTuningEvents", scope="read")
async def events(
    session: Authenticated, id: FromPath[str], limit: Limit = 20, after: After = None
) -> Page[FineTuningEvent]:
    """What happened to a tuning, newest first; `after` is an event's id, and older ones follow."""
    happened = await newest_events(session, id, limit=limit, after=after)
    return page([fine_tuning_event(id, each.version, each.at, each.body) for each in happened], limit)


@get(f"{PATH}/{{id:str}}/checkpoints", operation_id="listFineTuningCheckpoints", scope="read")
async def checkpoints(
    session: Authenticated, id: FromPath[str], limit: Limit = 10, after: After = None
) -> Page[FineTuningCheckpoint]:
    """The ends of a tuning's epochs, newest first."""
    tuning = (await reading.the_tuning(session, id)).tuning
    ended = await newest_events(session, id, limit=limit, after=after, kind=EpochCompleted)
    return page([checkpoint_of(tuning, each.id, each.at, each.body) for each in ended], limit)


async def _changed(session: Session, id: str, command: Change) -> Response[FineTuningJob]:
    found, status = await changed(session, id, command)
    return Response(_shown(found), status_code=status)


def _shown(found: reading.Found) -> FineTuningJob:
    return job_view(found.tuning, found.told, now=time.time())


ROUTES = [create, list_jobs, retrieve, cancel, pause, resume, events, checkpoints]
