"""What single training rows cost a model, before it was tuned and after."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import FromPath, QueryParameter

from app.api.errors import ApiError, invalid
from app.api.reading import the_tuning
from app.api.schemas.errors import RequestFault
from app.api.schemas.examples import ExampleLosses, read_examples
from app.api.session import Authenticated
from app.storage.store import ObjectMissing

EXAMPLES = "results/examples.jsonl"


@get("/v1/tunings.examples/{id:str}", operation_id="listTuningExamples", scope="read")
async def examples(
    session: Authenticated,
    id: FromPath[str],
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="How many at most.")] = 100,
    after_line: Annotated[
        int | None, QueryParameter(ge=1, le=2**31 - 1, description="Those behind the row of this line.")
    ] = None,
) -> ExampleLosses:
    """The loss of training rows one by one, the worst after training first: the ones to look at.

    Of a long file some rows are looked at, drawn by the seed; `example_losses` of a create says how many.
    """
    tuning = (await the_tuning(session, id)).tuning
    if tuning.status != "succeeded":
        message = f"tuning {id} is {tuning.status}; only a succeeded one tells of its rows"
        raise ApiError(400, "examples_not_ready", message)
    kept = tuning.result(EXAMPLES)
    try:
        content = await session.service.store.get_bytes(kept.key) if kept is not None else b""
    except ObjectMissing as error:
        raise ApiError(404, "content_gone", f"what {id} told of its rows is gone", "id") from error
    found = read_examples(content)
    place = 0
    if after_line is not None:
        place = next((place for place, one in enumerate(found, 1) if one.line == after_line), 0)
        if not place:
            raise invalid([RequestFault("after_line", f"line {after_line} was not looked at")])
    shown = found[place : place + limit]
    return ExampleLosses(
        data=shown,
        has_more=place + limit < len(found),
        looked_at=len(found),
        rows=tuning.training_file.rows,
    )


ROUTES = [examples]
