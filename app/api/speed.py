"""How fast tunings of a model went here, by kind of device, and how long another would take."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec

from app.api.schemas.estimates import StepCounts, TimeEstimate, TokenCounts
from app.api.session import Session
from app.domain.tunings import CreateTuning
from app.log.metrics import Step

# Of the account's newest tunings and of all that run, those on the same model by the same method.
OBSERVED = """
SELECT p.last_step FROM (
    SELECT id FROM (
        SELECT id, model, state FROM tunings
        WHERE account_id = $1 ORDER BY created_at DESC, id DESC LIMIT 100
    ) AS newest WHERE model = $2 AND state ->> 'method' = $3
    UNION
    SELECT id FROM tunings
    WHERE status IN ('pending', 'running', 'paused') AND status = 'running'
    AND model = $2 AND state ->> 'method' = $3
) AS t JOIN tuning_progress p ON p.tuning_id = t.id
WHERE p.last_step IS NOT NULL ORDER BY p.updated_at DESC LIMIT 20
"""
EVALUATION_COST = 1 / 3  # of a training step: no backward pass


async def time_of(
    session: Session,
    command: CreateTuning,
    kinds: Iterable[str],
    tokens: int,
    validation: TokenCounts | None,
    steps: StepCounts,
) -> TimeEstimate:
    """How long the training takes on the slowest of these kinds of device whose speed is known."""
    what = f"tuning of {command.model.id} by {command.method}"
    kinds = sorted(set(kinds))
    if not kinds:
        return _unknown("no worker is alive, so it is not known on what device it would run")
    found = await session.service.pool.fetch(
        OBSERVED, session.caller.account_id, command.model.id, command.method
    )
    speeds: dict[str, list[float]] = {}
    for row in found:
        step = msgspec.json.decode(row["last_step"], type=Step)
        if step.device in kinds and step.tokens_per_second > 0:
            speeds.setdefault(step.device, []).append(step.tokens_per_second)
    unseen = " or ".join(kind for kind in kinds if kind not in speeds)
    if not speeds:
        return _unknown(f"no {what} was seen at work on {unseen} yet, so its speed here is not known")
    device = min(speeds, key=lambda kind: median(speeds[kind]))
    speed, count = median(speeds[device]), len(speeds[device])
    seen = f"one {what}" if count == 1 else f"{count} {what.replace('tuning', 'tunings', 1)}"
    reason = f"the median speed of {seen} on {device}"
    if unseen:
        reason += f"; its speed on {unseen}, where it may run as well, is not known"
    elif others := ", ".join(kind for kind in kinds if kind != device):
        reason += f"; it is faster on {others}, where it may run as well"
    every, passes = command.hyperparameters.eval_every, -(-steps.total // steps.per_epoch)
    evaluations = passes + (steps.total // every if every else 0)
    work = tokens + (validation.tokens * evaluations * EVALUATION_COST if validation else 0)
    return TimeEstimate(
        seconds=round(work / speed), device=device, tokens_per_second=round(speed, 2), reason=reason
    )


def _unknown(reason: str) -> TimeEstimate:
    return TimeEstimate(seconds=None, device=None, tokens_per_second=None, reason=reason)
