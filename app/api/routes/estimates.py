"""A tuning looked at before it is created: what it needs, and what it would be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Request, post

from app.api.creation import command_of
from app.api.errors import invalid
from app.api.estimating import estimated
from app.api.findings import Page, looked_at
from app.api.measuring import Asked
from app.api.requests import json_object, read_fields
from app.api.schemas.errors import RequestFault
from app.api.schemas.estimates import (
    EstimateRequest,
    PreviewRequest,
    TuningEstimate,
    TuningPreview,
    finding_views,
    preview_rows,
)
from app.api.session import Authenticated
from app.datasets.measure import FINDINGS_KEPT, Measure


@post(
    "/v1/tunings.estimate",
    operation_id="estimateTuning",
    status_code=200,
    scope="read",
    body=EstimateRequest,
    idempotent=False,
    audit=False,
)
async def estimate(request: Request[Any, Any, Any], session: Authenticated) -> TuningEstimate:
    """What a tuning would need, with every fault of its rows for this model; nothing is created.

    Tokens are counted for up to 10 s, in the first 256 MiB of a file; `unseen` says what was not looked at.
    """
    body, _ = await json_object(request)
    values, faults = read_fields(EstimateRequest, body)
    command = await command_of(session, values, faults)
    looked = await looked_at(session, command, _page(values), Asked())
    return await estimated(session, request.app.state.fleet, command, looked)


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
    lines = values.get("lines") or ()
    first = 0 if lines else values.get("first", 3)
    looked = await looked_at(session, command, _page(values), Asked(lines=lines, first=first))
    measure = looked.measure
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
        unseen=looked.unseen,
        rows_measured=measure.training.rows + (measure.validation.rows if measure.validation else 0),
        rows=preview_rows(measure),
        findings=finding_views(measure.findings),
        finding_counts=measure.found,
        has_more=looked.has_more,
    )


def _page(values: Mapping[str, Any]) -> Page:
    return Page(values.get("findings_after", 0), values.get("findings_limit", FINDINGS_KEPT))


def _reason(measure: Measure) -> str | None:
    """Why there is no hash."""
    if measure.labels_hash is not None:
        return None
    if not measure.complete:
        return "the files are too large to be measured whole within the time of a request"
    return "some rows cannot be trained on; mend or remove those in findings that are no warnings"


ROUTES = [estimate, preview]
