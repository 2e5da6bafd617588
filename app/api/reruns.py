"""How a tuning that repeats another came out beside it."""

from __future__ import annotations

import msgspec

from app.api.schemas.tunings import RerunOutcome
from app.api.session import Session
from app.domain.tunings import Tuning

WEIGHTS = "adapter/adapter_model.safetensors"

REPEATED = "SELECT state FROM tunings WHERE id = $1 AND account_id = $2"
APART = """
SELECT max(abs((ours.metric->>'loss')::float8 - (theirs.metric->>'loss')::float8))
FROM tuning_steps ours JOIN tuning_steps theirs USING (step)
WHERE ours.tuning_id = $1 AND theirs.tuning_id = $2
"""


async def outcome_of(session: Session, tuning: Tuning) -> RerunOutcome | None:
    """Whether a rerun that succeeded made the same adapter, and how far its losses are from those."""
    if tuning.rerun_of is None or tuning.status != "succeeded":
        return None
    pool = session.service.pool
    state = await pool.fetchval(REPEATED, tuning.rerun_of, tuning.account_id)
    if state is None:
        return None
    first = msgspec.json.decode(state, type=Tuning)
    made, repeated = tuning.result(WEIGHTS), first.result(WEIGHTS)
    return RerunOutcome(
        of=first.id,
        same_adapter=made.sha256 == repeated.sha256 if made and repeated else None,
        largest_loss_difference=await pool.fetchval(APART, tuning.id, first.id),
    )
