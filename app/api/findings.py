"""What is wrong with a tuning's files for its model: pages of what they have in common, then by line."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from app.api.measuring import Asked, measured
from app.api.overlaps import overlap_findings
from app.api.session import Session
from app.datasets.measure import Measure
from app.domain.tunings import CreateTuning


class Page(Struct, frozen=True):
    """Which findings are told: so many, behind the first so many."""

    after: int = 0
    limit: int = 100


class Looked(Struct, frozen=True):
    """The files as the model reads them; what was not looked at; whether there are more findings."""

    measure: Measure
    unseen: tuple[str, ...]
    has_more: bool


async def looked_at(session: Session, command: CreateTuning, page: Page, asked: Asked) -> Looked:
    """Compare and measure a tuning's files. Raises `ApiError`."""
    overlap = await session.service.overlaps.of(command.training_file, command.validation_file)
    first = overlap_findings(overlap)
    told = first[page.after : page.after + page.limit]
    asked = replace(asked, skipped=max(0, page.after - len(first)), kept=page.limit - len(told))
    measure = await measured(session.service, command, asked)
    last = page.after + len(told) + len(measure.findings)
    has_more = last < len(first) + sum(measure.found.values())
    if overlap is not None and first:
        found = {first[0].code: overlap.rows} | measure.found
        measure = replace(measure, findings=(*told, *measure.findings), found=found)
    unseen = measure.unseen
    if overlap is None and command.validation_file is not None:
        unseen += (
            f"which rows {command.validation_file.id} and the training file have in common is not known",
        )
    return Looked(measure, unseen, has_more)
