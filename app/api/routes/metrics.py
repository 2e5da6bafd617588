"""A tuning's loss curve."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import FromPath, QueryParameter

from app.api.errors import invalid
from app.api.reading import the_tuning
from app.api.schemas.errors import RequestFault
from app.api.schemas.metrics import LossCurve, step_view
from app.api.session import Authenticated

LAST = 2**31 - 1

STEPS = """
SELECT metric, at FROM tuning_steps WHERE tuning_id = $1 AND step > $2 AND step <= $3 ORDER BY step LIMIT $4
"""
# In each of $4 stretches of equally many steps the least loss and the greatest; the first step and the last
# are stretches of their own.
THINNED = """
WITH steps AS (
    SELECT step, (metric->>'loss')::float8 AS loss,
        row_number() OVER (ORDER BY step) AS place, count(*) OVER () AS total
    FROM tuning_steps WHERE tuning_id = $1 AND step > $2 AND step <= $3
), stretches AS (
    SELECT step, loss, total,
        CASE WHEN place = 1 THEN -1 ELSE (place - 2) * $4 / greatest(total - 2, 1) END AS stretch
    FROM steps
), ranked AS (
    SELECT step, total,
        row_number() OVER (PARTITION BY stretch ORDER BY loss, step) AS low,
        row_number() OVER (PARTITION BY stretch ORDER BY loss DESC, step) AS high
    FROM stretches
)
SELECT metric, at FROM ranked JOIN tuning_steps USING (step)
WHERE tuning_id = $1 AND (low = 1 OR high = 1 OR total <= $5) ORDER BY step
"""


@get("/v1/tunings.metrics/{id:str}", operation_id="getTuningMetrics", scope="read")
async def metrics(
    session: Authenticated,
    id: FromPath[str],
    after_step: Annotated[int, QueryParameter(ge=0, le=LAST, description="Steps behind this one.")] = 0,
    until_step: Annotated[
        int, QueryParameter(ge=0, le=LAST, description="Steps up to this one, itself among them.")
    ] = LAST,
    limit: Annotated[int, QueryParameter(ge=1, le=10_000, description="How many at most.")] = 1000,
    points: Annotated[
        int | None,
        QueryParameter(
            ge=4,
            le=10_000,
            description="The whole range in so many steps at most; `limit` is then not looked at.",
        ),
    ] = None,
) -> LossCurve:
    """The loss curve, in order of steps.

    With `points` a long curve comes thinned, and keeps its shape: of equally long stretches the step with the
    least loss and the one with the greatest, and the first step and the last of all. Each is as it was told.
    """
    found = await the_tuning(session, id)
    if until_step < after_step:
        raise invalid([RequestFault("until_step", "until_step is in front of after_step")])
    pool = session.service.pool
    if points is None:
        rows = await pool.fetch(STEPS, id, after_step, until_step, limit + 1)
        more, rows = len(rows) > limit, rows[:limit]
    else:
        rows, more = await pool.fetch(THINNED, id, after_step, until_step, (points - 2) // 2, points), False
    shown = [step_view(row["metric"], row["at"]) for row in rows]
    return LossCurve(data=shown, has_more=more, epochs=list(found.tuning.epochs))


ROUTES = [metrics]
