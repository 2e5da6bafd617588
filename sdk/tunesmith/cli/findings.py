"""Everything that an estimate or a preview finds in a file's rows, however many pages that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from tunesmith import RowFinding, TuningEstimate, TuningPreview

A_PAGE = 10_000

Planned = TypeVar("Planned", TuningEstimate, TuningPreview)


def whole(ask: Callable[..., Planned]) -> Planned:
    """What is found, every page of it; `ask` is an estimate or a preview that lacks but the page to tell."""
    found = page = ask(findings_limit=A_PAGE)
    every = list(found.findings or [])
    while page.has_more and page.findings:
        page = ask(findings_limit=A_PAGE, findings_after=len(every))
        every += page.findings or []
        found["findings"], found["has_more"] = every, bool(page.has_more)
    return found


def faulty(findings: Iterable[RowFinding] | None) -> bool:
    """Whether a row cannot be trained on."""
    return any(not finding.warning for finding in findings or ())
