"""What a tuning would need: steps, memory, where it fits, what would make it fit, how long it takes."""

from __future__ import annotations

from statistics import median

import msgspec
from msgspec.structs import asdict, replace

from app.api.fleet import Fleet
from app.api.measuring import entry_of
from app.api.schemas.estimates import (
    MemoryParts,
    SlotFit,
    StepCounts,
    Suggestion,
    TimeEstimate,
    TokenCounts,
    TuningEstimate,
    counts_view,
    finding_views,
)
from app.api.session import Session
from app.catalogue.fitting import smallest_change
from app.catalogue.memory import estimate
from app.datasets.measure import Measure
from app.domain.hyperparameters import steps_per_epoch
from app.domain.tunings import CreateTuning
from app.log.metrics import Step

# Of the account's newest tunings and of all that run, those on the same model.
OBSERVED = """
SELECT p.last_step FROM (
    SELECT id FROM (
        SELECT id, model FROM tunings WHERE account_id = $1 ORDER BY created_at DESC, id DESC LIMIT 100
    ) AS newest WHERE model = $2
    UNION
    SELECT id FROM tunings
    WHERE status IN ('pending', 'running', 'paused') AND status = 'running' AND model = $2
) AS t JOIN tuning_progress p ON p.tuning_id = t.id
WHERE p.last_step IS NOT NULL ORDER BY p.updated_at DESC LIMIT 20
"""
EVALUATION_COST = 1 / 3  # of a training step: no backward pass


async def estimated(
    session: Session, fleet: Fleet, command: CreateTuning, measure: Measure
) -> TuningEstimate:
    """The estimate for a tuning that was not created, whose files were measured."""
    hyper, entry = command.hyperparameters, entry_of(command)
    training_rows, validation = command.training_file.rows, command.validation_file
    training = counts_view(measure.training, None if measure.complete else training_rows)
    checked = (
        counts_view(measure.validation, None if measure.complete or not validation else validation.rows)
        if measure.validation is not None
        else None
    )
    rows = training_rows
    if hyper.packing:  # as many sequences as the tokens fill
        rows = max(1, -(-training.tokens // hyper.max_length))
    per_epoch = steps_per_epoch(rows, hyper.batch_size)
    steps = StepCounts(per_epoch, hyper.max_steps or per_epoch * hyper.epochs)
    passes = steps.total / per_epoch
    longest = command.training_file.longest_row
    needed = estimate(entry, hyper, method=command.method, longest_row=longest)
    slots = _slots(fleet, needed.total)
    suggestion = None
    if slots and not any(slot.fits for slot in slots):
        change = smallest_change(
            entry,
            hyper,
            max(slot.memory for slot in slots),
            method=command.method,
            longest_row=longest,
            shape_is_fixed=command.warm_start is not None,
        )
        if change:
            smaller = estimate(entry, replace(hyper, **change), method=command.method, longest_row=longest)
            suggestion = Suggestion(hyperparameters=change, memory=smaller.total)
    total = round(training.tokens * passes)
    return TuningEstimate(
        model=command.model.id,
        method=command.method,
        hyperparameters=hyper,
        complete=measure.complete,
        rows_measured=measure.training.rows + (measure.validation.rows if measure.validation else 0),
        training=training,
        validation=checked,
        total_tokens=total,
        total_trainable_tokens=round(training.trainable_tokens * passes),
        steps=steps,
        memory=MemoryParts(**asdict(needed), total=needed.total),
        fits=any(slot.fits for slot in slots) if slots else None,
        workers=slots,
        suggestion=suggestion,
        time=await _time(session, command, total, checked, steps),
        findings=finding_views(measure),
        finding_counts=measure.found,
    )


def _slots(fleet: Fleet, needed: int) -> list[SlotFit]:
    """Every slot of a living worker that takes work."""
    return [
        SlotFit(
            worker=beat.worker,
            slot=slot.index,
            device=f"{slot.device.kind}: {slot.device.name}",
            memory=slot.device.memory,
            free=slot.occupant is None,
            fits=slot.device.memory >= needed,
        )
        for beat in sorted(fleet.living(), key=lambda beat: beat.worker)
        if not beat.draining
        for slot in beat.slots
    ]


async def _time(
    session: Session, command: CreateTuning, tokens: int, validation: TokenCounts | None, steps: StepCounts
) -> TimeEstimate:
    found = await session.service.pool.fetch(OBSERVED, session.caller.account_id, command.model.id)
    speeds = [msgspec.json.decode(row["last_step"], type=Step).tokens_per_second for row in found]
    speeds = [speed for speed in speeds if speed > 0]
    if not speeds:
        reason = f"no tuning of {command.model.id} was seen at work yet, so its speed here is not known"
        return TimeEstimate(seconds=None, tokens_per_second=None, reason=reason)
    speed = median(speeds)
    every = command.hyperparameters.eval_every
    evaluations = command.hyperparameters.epochs + (steps.total // every if every else 0)
    work = tokens + (validation.tokens * evaluations * EVALUATION_COST if validation else 0)
    tunings = "1 tuning" if len(speeds) == 1 else f"{len(speeds)} tunings"
    return TimeEstimate(
        seconds=round(work / speed),
        tokens_per_second=round(speed, 2),
        reason=f"the median speed of {tunings} of {command.model.id} on this installation",
    )
