"""The faults that a file's check found, page by page."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.schemas.files import FileCheck, file_view
from app.datasets.check import Report
from app.datasets.spool import PAGE, Kept, faults_of
from app.domain.files import Fault, File
from app.storage.keys import check_key, faults_key, warnings_key
from app.storage.store import ObjectMissing, Store


async def file_check(store: Store, file: File, after: int, limit: int) -> FileCheck:
    """What is known of a file's check: faults and warnings behind the first `after` of each."""
    known: dict[str, Any] = {"id": file.id, "status": file_view(file).status, "sha256": file.sha256}
    if file.status == "uploaded":
        return FileCheck(**known, fault_count=file.fault_count)
    try:
        report = msgspec.json.decode(await store.get_bytes(check_key(file.id)), type=Report)
    except ObjectMissing:
        first = (file.first_fault,) if file.first_fault else ()
        return FileCheck(**known, fault_count=file.fault_count, faults=first[after:])
    faults, more_faults = await _page(
        store, faults_key(file.id), report.faults, report.kept_faults, after, limit
    )
    warnings, more_warnings = await _page(
        store, warnings_key(file.id), report.warnings, report.kept_warnings, after, limit
    )
    return FileCheck(
        **known,
        format=report.format,
        rows=report.rows,
        fault_count=report.fault_count,
        faults=faults,
        warning_count=report.warning_count,
        warnings=warnings,
        has_more=more_faults or more_warnings,
        statistics=report.statistics,
    )


async def _page(
    store: Store, key: str, first: tuple[Fault, ...], kept: Kept, after: int, limit: int
) -> tuple[tuple[Fault, ...], bool]:
    """Faults from number `after`, counted from 0, and whether others follow."""
    end = after + limit
    if end <= len(first) or kept.count <= len(first):
        return first[after:end], end < max(kept.count, len(first))
    if after >= kept.count:
        return (), False
    pages = len(kept.places) - 1
    start, stop = after // PAGE, min(-(-end // PAGE), pages)
    lines = await store.get_range(key, kept.places[start], kept.places[stop])
    skipped = after - start * PAGE
    return tuple(faults_of(lines)[skipped : skipped + limit]), end < kept.count
