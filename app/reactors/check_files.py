"""Each uploaded file is checked by a process of its own; the report goes to the store, its sum to the log."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import asyncpg
import msgspec
import structlog

from app.datasets.check import DIGESTS_FILE, FAULTS_FILE, WARNINGS_FILE, Report
from app.datasets.children import ran
from app.domain.files import FILES, Fault, RecordCheck, Uploaded
from app.domain.ids import derive_id
from app.log.codec import Event, command_record
from app.log.port import Log
from app.log.sender import Sender
from app.reactors.following import follow_each
from app.storage.keys import check_key, digests_key, faults_key, warnings_key
from app.storage.store import ObjectMissing, Store

REACTOR = "check_files"
LARGE = 64 * 1024**2
CHECKED_WITHIN = 3600.0
NO_CHECK = RecordCheck(None, 0, 0)

logger = structlog.get_logger("reactor")


async def serve(log: Log, pool: asyncpg.Pool, store: Store, stop: asyncio.Event) -> None:
    """Check files as they are uploaded, until `stop`. Two that check one file find the same."""
    sender = Sender(log)
    # Each kind has a process of its own: whoever waits for a small file does not wait for a large one.
    small, large = asyncio.Semaphore(1), asyncio.Semaphore(1)

    async def check(event: Event) -> None:
        if isinstance(event.body, Uploaded):
            await _react(event, sender, store, large if event.body.bytes > LARGE else small)

    try:
        await follow_each(log, pool, REACTOR, FILES, check, stop)
    finally:
        await sender.close()


async def _react(event: Event, sender: Sender, store: Store, limit: asyncio.Semaphore) -> None:
    """Check one file and send what was found, by a command whose id is derived from the event's."""
    async with limit:
        file = event.body
        found = await check_file(store, event.aggregate_id, file) if file.purpose == "fine-tune" else NO_CHECK
        await sender.send(
            command_record(
                FILES,
                id=derive_id("cmd", REACTOR, event.id),
                aggregate_id=event.aggregate_id,
                actor="system:reactor",
                correlation_id=event.correlation_id,
                source="reactor",
                body=found,
            )
        )
        logger.info("file_checked", file_id=event.aggregate_id, rows=found.rows, faults=found.fault_count)


async def check_file(store: Store, id: str, file: Uploaded) -> RecordCheck:
    """Check a file's content and keep all that was found. Raises `StorageError` when the store fails."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-check-") as name:
        folder = Path(name)
        local = folder / "upload"
        try:
            got = await store.get_file(file.key, local)
        except ObjectMissing:
            return _refused("content_gone", "the file's bytes are gone", "upload it again")
        if got.sha256 != file.sha256:
            return _refused(
                "content_changed", "the store gave other bytes than were uploaded", "upload it again"
            )
        try:
            ended = await ran("app.datasets.check", str(local), str(folder), within=CHECKED_WITHIN)
        except TimeoutError:
            return _refused("check_too_long", "the check took longer than an hour", "split the file")
        report = _read(ended.written) if ended.status == 0 else None
        if report is None:
            logger.error("check_broke", file_id=id, status=ended.status, error=ended.said)
            return _refused(
                "check_failed", "the file could not be checked", "split the file, or ask the operator"
            )
        await _keep(store, id, report, folder)
        await store.put_bytes(check_key(id), ended.written)
    first = report.faults[0] if report.faults else None
    fault = Fault(first.line, first.code, first.pointer, first.message, first.fix) if first else None
    return RecordCheck(report.format, report.rows, report.fault_count, fault, report.statistics.longest_row)


async def _keep(store: Store, id: str, report: Report, folder: Path) -> None:
    """Store what the report does not hold: faults and warnings beyond the first, and a sound file's rows."""
    if report.fault_count > len(report.faults):
        await store.put_file(faults_key(id), folder / FAULTS_FILE)
    if report.warning_count > len(report.warnings):
        await store.put_file(warnings_key(id), folder / WARNINGS_FILE)
    if not report.fault_count:
        await store.put_file(digests_key(id), folder / DIGESTS_FILE)


def _read(out: bytes) -> Report | None:
    try:
        return msgspec.json.decode(out, type=Report)
    except msgspec.DecodeError:
        return None


def _refused(code: str, message: str, fix: str) -> RecordCheck:
    return RecordCheck(None, 0, 1, Fault(0, code, "", message, fix))
