"""The tunings: created, read, listed, changed, cancelled, paused and resumed."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from app.api import reading
from app.api.changing import Change, changed
from app.api.creation import Made, create_tuning, rerun_tuning
from app.api.errors import invalid
from app.api.idempotency import idempotency_key
from app.api.past import as_it_was
from app.api.requests import After, Limit, json_object, read_fields
from app.api.reruns import outcome_of
from app.api.schemas.pages import Page, page
from app.api.schemas.tunings import MetadataFilter, TuningJob, TuningRequest, TuningUpdate, tuning_view
from app.api.session import Authenticated, Session
from app.domain.tunings import CancelTuning, PauseTuning, ResumeTuning, Status, UpdateTuning


@post(
    "/v1/tunings.create",
    operation_id="createTuning",
    answer_headers=("location",),
    scope="write",
    body=TuningRequest,
    example={"model": "smollm2-135m-instruct", "training_file": "file-…", "hyperparameters": {"epochs": 1}},
    answers=(202,),
)
async def create(request: Request[Any, Any, Any], session: Authenticated) -> Response[TuningJob]:
    """Create a tuning: 201 with it, or 202 when it is accepted and not to be seen yet."""
    body, body_hash = await json_object(request)
    values, faults = read_fields(TuningRequest, body)
    return _made(await create_tuning(session, values, faults, body_hash, idempotency_key(request)))


@post(
    "/v1/tunings.rerun/{id:str}",
    operation_id="rerunTuning",
    answer_headers=("location",),
    scope="write",
    answers=(202,),
)
async def rerun(
    request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]
) -> Response[TuningJob]:
    """Create a tuning that repeats another: same model revision, files, hyperparameters and seed.

    It is refused when the bytes of a file are gone, or the model is at another revision now.
    """
    key = idempotency_key(request)
    found = await reading.the_tuning(session, id)
    return _made(await rerun_tuning(session, found.tuning, key))


def _made(made: Made) -> Response[TuningJob]:
    tuning = made.found.tuning
    headers = made.headers | {"location": f"/v1/tunings.get/{tuning.id}"}
    view = tuning_view(tuning, made.found.version, made.found.told)
    return Response(view, status_code=201 if made.seen else 202, headers=headers)


@get("/v1/tunings.get/{id:str}", operation_id="getTuning", scope="read")
async def retrieve(
    session: Authenticated,
    id: FromPath[str],
    as_of_version: Annotated[
        int | None, QueryParameter(ge=1, le=2**31 - 1, description="As it was at this version.")
    ] = None,
    as_of: Annotated[
        str | None, QueryParameter(description="As it was at this time: Unix seconds or RFC 3339.")
    ] = None,
) -> TuningJob:
    """One tuning as it is, or as it was."""
    if as_of_version is not None or as_of is not None:
        return await as_it_was(session, id, as_of_version, as_of)
    found = await reading.the_tuning(session, id)
    return tuning_view(found.tuning, found.version, found.told, await outcome_of(session, found.tuning))


@get("/v1/tunings.list", operation_id="listTunings", scope="read", deep_query=MetadataFilter)
async def list_tunings(
    request: Request[Any, Any, Any],
    session: Authenticated,
    limit: Limit = 20,
    after: After = None,
    status: Annotated[Status | None, QueryParameter(description="Only these.")] = None,
) -> Page[TuningJob]:
    """The account's tunings, newest first; `metadata[k]=v` narrows them."""
    found = await reading.list_tunings(
        session,
        limit=limit,
        after=after,
        status=status,
        metadata=reading.metadata_filter(request.query_params),
    )
    return page([tuning_view(each.tuning, each.version, each.told) for each in found], limit)


@post(
    "/v1/tunings.update/{id:str}",
    status_code=200,
    operation_id="updateTuning",
    scope="write",
    body=TuningUpdate,
    answers=(202,),
)
async def update(
    request: Request[Any, Any, Any], session: Authenticated, id: FromPath[str]
) -> Response[TuningJob]:
    """Give a tuning that has not ended another priority or other metadata; what is left out stays."""
    body, _ = await json_object(request)
    values, faults = read_fields(TuningUpdate, body)
    if faults:
        raise invalid(faults)
    return await _changed(session, id, UpdateTuning(**values))


@delete(
    "/v1/tunings.cancel/{id:str}",
    status_code=200,
    operation_id="cancelTuning",
    scope="write",
    answers=(202,),
)
async def cancel(session: Authenticated, id: FromPath[str]) -> Response[TuningJob]:
    """End a tuning at once; one that is cancelled already stays so."""
    return await _changed(session, id, CancelTuning())


@post(
    "/v1/tunings.pause/{id:str}",
    status_code=200,
    operation_id="pauseTuning",
    scope="write",
    answers=(202,),
)
async def pause(session: Authenticated, id: FromPath[str]) -> Response[TuningJob]:
    """Bring a running tuning to rest at a checkpoint and free its devices; one that rests stays so."""
    return await _changed(session, id, PauseTuning())


@post(
    "/v1/tunings.resume/{id:str}",
    status_code=200,
    operation_id="resumeTuning",
    scope="write",
    answers=(202,),
)
async def resume(session: Authenticated, id: FromPath[str]) -> Response[TuningJob]:
    """Let a paused tuning go on from its last checkpoint."""
    return await _changed(session, id, ResumeTuning())


async def _changed(session: Session, id: str, command: Change) -> Response[TuningJob]:
    found, status = await changed(session, id, command)
    return Response(tuning_view(found.tuning, found.version, found.told), status_code=status)


ROUTES = [create, rerun, retrieve, list_tunings, update, cancel, pause, resume]
