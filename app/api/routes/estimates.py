"""A tuning looked at before it is created: what it needs, and what it would be trained on."""

from __future__ import annotations

from typing import Any

from litestar import Request, post

from app.api.creation import command_of
from app.api.errors import invalid
from app.api.estimating import estimated
from app.api.measuring import Asked, measured
from app.api.overlaps import noted
from app.api.requests import json_object, read_fields
from app.api.schemas.errors import RequestFault
from app.api.schemas.estimates import (
    PreviewRequest,
    TuningEstimate,
    TuningPreview,
    finding_views,
    preview_rows,
)
from app.api.schemas.tunings import TuningRequest
from app.api.session import Authenticated
from app.datasets.measure import Measure


@post(
    "/v1/tunings.estimate",
    operation_id="estimateTuning",
    status_code=200,
    scope="read",
    body=TuningRequest,
    idempotent=False,
    audit=False,
)
async def estimate(request: Request[Any, Any, Any], session: Authenticated) -> TuningEstimate:
    """What a tuning would need, with every fault of its rows for this model; nothing is created.

    Tokens are counted for up to 10 s; `complete` tells whether that was enough for all rows.
    """
    body, _ = await json_object(request)
    values, faults = read_fields(TuningRequest, body)
    command = await command_of(session, values, faults)
    overlap = await session.service.overlaps.of(command.training_file, command.validation_file)
    measure = noted(await measured(session.service, command), overlap)
    return await estimated(session, request.app.state.fleet, command, measure)


@post(
    "/v1/tunings.preview",
    operation_id="previewTuning",
    status_code=200,
    scope="read",
    body=PreviewRequest,
    idempotent=False,
    audit=False,
)
async def preview(request: Request[Any, Any, Any], session: Authenticated) -> TuningPreview:
    """What a tuning would be trained on, token by token, and the hash that holds it to that.

    Nothing is created.
    """
    body, _ = await json_object(request)
    values, faults = read_fields(PreviewRequest, body)
    command = await command_of(session, values, faults)
    await session.service.overlaps.of(command.training_file, command.validation_file)
    lines = values.get("lines") or ()
    first = 0 if lines else values.get("first", 3)
    measure = await measured(session.service, command, Asked(lines=lines, first=first))
    if measure.complete and (unknown := set(lines) - {row.line for row in measure.shown}):
        told = ", ".join(map(str, sorted(unknown)))
        raise invalid([RequestFault("lines", f"the training file has no row at line {told}")])
    return TuningPreview(
        model=command.model.id,
        method=command.method,
        hyperparameters=command.hyperparameters,
        preview_hash=measure.labels_hash,
        reason=_reason(measure),
        complete=measure.complete,
        rows_measured=measure.training.rows + (measure.validation.rows if measure.validation else 0),
        rows=preview_rows(measure),
        findings=finding_views(measure),
        finding_counts=measure.found,
    )


def _reason(measure: Measure) -> str | None:
    """Why there is no hash."""
    if measure.labels_hash is not None:
        return None
    if not measure.complete:
        return "the files are too large to be measured whole within the time of a request"
    return "some rows cannot be trained on; mend or remove those in findings that are no warnings"


ROUTES = [estimate, preview]
