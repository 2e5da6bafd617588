"""Each uploaded file is checked by a process of its own; the report goes to the store, its sum to the log."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import asyncpg
import msgspec
import structlog

from app.datasets.check import Report
from app.domain.files import FILES, Fault, RecordCheck, Uploaded
from app.domain.ids import derive_id
from app.log import topics
from app.log.codec import Event, Undecodable, command_record, read_event
from app.log.port import Log, LogError, Partition, Writer, all_partitions
from app.storage.store import ObjectMissing, StorageError, Store

REACTOR = "check_files"
AT_A_TIME = 2
CHECKED_WITHIN = 3600.0
LARGEST_MEMORY = 4 * 1024**3
PAUSE_AFTER_ERROR = 1.0
NO_CHECK = RecordCheck(None, 0, 0)

POSITION = "SELECT next_offset FROM ops.cursors WHERE reactor = $1 AND topic = $2 AND partition = $3"
ADVANCE = """
INSERT INTO ops.cursors VALUES ($1, $2, $3, $4)
ON CONFLICT (reactor, topic, partition) DO UPDATE
SET next_offset = greatest(ops.cursors.next_offset, excluded.next_offset)
"""

logger = structlog.get_logger("reactor")


async def serve(log: Log, dsn: str, store: Store, stop: asyncio.Event) -> None:
    """The role: check files as they are uploaded, until `stop`. Two that check one file find the same."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=3) as pool:
        while not stop.is_set():
            try:
                partitions = await all_partitions(log, topics.events("files"))
                async with asyncio.TaskGroup() as tasks:
                    for partition in partitions:
                        tasks.create_task(_follow(log, pool, store, partition, stop))
            except* (
                LogError,
                StorageError,
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
            ) as errors:
                logger.warning("reactor_interrupted", error=repr(errors.exceptions[0]))
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_AFTER_ERROR):
                        await stop.wait()


async def _follow(
    log: Log, pool: asyncpg.Pool, store: Store, partition: Partition, stop: asyncio.Event
) -> None:
    position = await pool.fetchval(POSITION, REACTOR, *partition) or 0
    writer = await log.writer()
    reader = await log.reader({partition: position})
    try:
        while not stop.is_set():
            records = await reader.fetch(200, 0.5)
            if not records:
                continue
            uploads: list[Event] = []
            for record in records:
                try:
                    event = read_event(FILES, record)
                except Undecodable as error:
                    logger.critical("event_undecodable", error=str(error))
                    continue
                if isinstance(event.body, Uploaded):
                    uploads.append(event)
            limit = asyncio.Semaphore(AT_A_TIME)
            await asyncio.gather(*(_react(event, writer, store, limit) for event in uploads))
            await pool.execute(ADVANCE, REACTOR, *partition, records[-1].offset + 1)
    finally:
        await reader.close()
        await writer.close()


async def _react(event: Event, writer: Writer, store: Store, limit: asyncio.Semaphore) -> None:
    """Check one file and send what was found, by a command whose id is derived from the event's."""
    async with limit:
        file = event.body
        found = await check_file(store, event.aggregate_id, file) if file.purpose == "fine-tune" else NO_CHECK
        await writer.send(
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
    """Check a file's content and keep the whole report. Raises `StorageError` when the store fails."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-check-") as folder:
        local = Path(folder) / "upload"
        try:
            got = await store.get_file(file.key, local)
        except ObjectMissing:
            return _refused("content_gone", "the file's bytes are gone", "upload it again")
        if got.sha256 != file.sha256:
            return _refused(
                "content_changed", "the store gave other bytes than were uploaded", "upload it again"
            )
        checker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.datasets.check",
            str(local),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_bounded,
        )
        try:
            async with asyncio.timeout(CHECKED_WITHIN):
                out, err = await checker.communicate()
        except TimeoutError:
            checker.kill()
            await checker.wait()
            return _refused("check_too_long", "the check took longer than an hour", "split the file")
        except asyncio.CancelledError:
            checker.kill()
            await checker.wait()
            raise
    report = _read(out) if checker.returncode == 0 else None
    if report is None:
        logger.error(
            "check_broke", file_id=id, status=checker.returncode, error=err.decode(errors="replace")[-500:]
        )
        return _refused(
            "check_failed", "the file could not be checked", "split the file, or ask the operator"
        )
    await store.put_bytes(f"files/{id}.check.json", out)
    first = report.faults[0] if report.faults else None
    fault = Fault(first.line, first.code, first.pointer, first.message, first.fix) if first else None
    return RecordCheck(report.format, report.rows, report.fault_count, fault)


def _read(out: bytes) -> Report | None:
    try:
        return msgspec.json.decode(out, type=Report)
    except msgspec.DecodeError:
        return None


def _refused(code: str, message: str, fix: str) -> RecordCheck:
    return RecordCheck(None, 0, 1, Fault(0, code, "", message, fix))


def _bounded() -> None:
    """No file makes the checker eat the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY, LARGEST_MEMORY))
