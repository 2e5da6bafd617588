"""A tuning's loss curve."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from app.api.reading import the_tuning
from app.api.schemas.metrics import LossCurve, StepMetrics
from app.api.session import Authenticated


@get("/v1/tunings.metrics/{id:str}", operation_id="getTuningMetrics", scope="read")
async def metrics(
    session: Authenticated,
    id: FromPath[str],
    after_step: Annotated[int, QueryParameter(ge=0, le=2**31 - 1, description="Steps behind this one.")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=10_000, description="How many at most.")] = 1000,
) -> LossCurve:
    """The loss curve, in order of steps."""
    found = await the_tuning(session, id)
    rows = await session.service.pool.fetch(
        "SELECT metric, at FROM tuning_steps WHERE tuning_id = $1 AND step > $2 ORDER BY step LIMIT $3",
        id,
        after_step,
        limit + 1,
    )
    points = [
        msgspec.convert(
            msgspec.json.decode(row["metric"]) | {"created_at": int(row["at"].timestamp())}, StepMetrics
        )
        for row in rows[:limit]
    ]
    return LossCurve(data=points, has_more=len(rows) > limit, epochs=list(found.tuning.epochs))


ROUTES = [metrics]
