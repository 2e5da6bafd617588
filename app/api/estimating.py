"""What a tuning would need: steps, memory, where it fits, what would make it fit, how long it takes."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from app.api.findings import Looked
from app.api.fleet import Fleet
from app.api.measuring import entry_of
from app.api.schemas.estimates import (
    MemoryParts,
    SlotFit,
    StepCounts,
    Suggestion,
    TuningEstimate,
    counts_view,
    finding_views,
)
from app.api.session import Session
from app.api.speed import time_of
from app.catalogue.fitting import smallest_change
from app.catalogue.memory import estimate
from app.domain.hyperparameters import steps_per_epoch
from app.domain.tunings import CreateTuning


async def estimated(session: Session, fleet: Fleet, command: CreateTuning, looked: Looked) -> TuningEstimate:
    """The estimate for a tuning that was not created, whose files were measured."""
    measure = looked.measure
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
        unseen=looked.unseen,
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
        time=await time_of(session, command, _kinds(fleet, needed.total), total, checked, steps),
        findings=finding_views(measure.findings),
        finding_counts=measure.found,
        has_more=looked.has_more,
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


def _kinds(fleet: Fleet, needed: int) -> set[str]:
    """The kinds of device on which it may run: of those with room for it, or of all when none has."""
    devices = [slot.device for beat in fleet.living() if not beat.draining for slot in beat.slots]
    roomy = {device.kind for device in devices if device.memory >= needed}
    return roomy or {device.kind for device in devices}
