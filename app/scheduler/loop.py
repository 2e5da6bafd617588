"""The loop around the planner: tunings and heartbeats in, assignments, losses and queue places out."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog

from app.domain.ids import derive_id
from app.domain.tunings import TUNINGS, AssignAttempt, Attempt, ReportLost, Tuning
from app.log import topics
from app.log.aggregates import read_aggregate
from app.log.codec import command_record
from app.log.port import (
    Fenced,
    Log,
    LogError,
    Reader,
    Received,
    Record,
    Start,
    TransactionalWriter,
    all_partitions,
)
from app.log.queue import QueuePlace, queue_record
from app.log.workers import read_heartbeat
from app.scheduler.fleet import Fleet
from app.scheduler.planner import Waiting, plan
from app.settings import Settings

TRANSACTIONAL_ID = "tunesmith-scheduler"
TICK_SECONDS = 0.25
UNDECIDED_SECONDS = 10.0
LONGEST_BACKOFF = timedelta(seconds=60)
PAUSE_AFTER_ERROR = 1.0

logger = structlog.get_logger("scheduler")


async def serve(settings: Settings, log: Log, stop: asyncio.Event) -> None:
    """The role: plan until `stop`. Of several schedulers the last one started plans; the others stand by."""
    while not stop.is_set():
        try:
            await _plan_on(settings, log, stop)
        except Fenced as error:
            logger.warning("scheduler_fenced", error=str(error))
            await _pause(settings.lease_seconds, stop)
        except LogError as error:
            logger.warning("scheduler_interrupted", error=str(error))
            await _pause(PAUSE_AFTER_ERROR, stop)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _plan_on(settings: Settings, log: Log, stop: asyncio.Event) -> None:
    writer = await log.transactional_writer(TRANSACTIONAL_ID)
    try:
        sources = await all_partitions(log, topics.state("tunings")) + await all_partitions(
            log, topics.WORKERS
        )
        reader = await log.reader(dict.fromkeys(sources, Start.FIRST))
        try:
            scheduler = Scheduler(settings, writer)
            await scheduler.read_up(reader, {source: await reader.end(source) for source in sources})
            while not stop.is_set():
                scheduler.take(await reader.fetch(5_000, TICK_SECONDS))
                await scheduler.tick(time.monotonic(), datetime.now(UTC))
        finally:
            await reader.close()
    finally:
        await writer.close()


class Scheduler:
    """What the planner is told, and what was sent on its word."""

    def __init__(self, settings: Settings, writer: TransactionalWriter) -> None:
        self._writer = writer
        self._fleet = Fleet(settings.lease_seconds, settings.stall_seconds)
        self._live: dict[str, Tuning] = {}
        self._undecided: dict[str, tuple[Attempt, float]] = {}
        self._places: dict[str, int] = {}

    async def read_up(self, reader: Reader, ends: dict[Any, int]) -> None:
        """Take in everything up to these offsets before the first plan."""
        while any([await reader.position(source) < end for source, end in ends.items()]):
            self.take(await reader.fetch(5_000, TICK_SECONDS))

    def take(self, records: list[Received]) -> None:
        """Take in tunings and heartbeats."""
        for record in records:
            if record.partition.topic == topics.WORKERS:
                if (heartbeat := read_heartbeat(record)) is not None:
                    self._fleet.hear(heartbeat, time.monotonic())
            elif record.key is not None and not record.key.startswith("!") and record.value is not None:
                self._take_tuning(read_aggregate(TUNINGS, record.value).state)

    def _take_tuning(self, tuning: Tuning) -> None:
        if tuning.ended:
            self._live.pop(tuning.id, None)
        else:
            self._live[tuning.id] = tuning
        sent = self._undecided.get(tuning.id)
        if sent is not None and (tuning.ended or tuning.attempts >= sent[0].number):
            del self._undecided[tuning.id]

    async def tick(self, now: float, wall: datetime) -> None:
        """Report what is lost, assign what can start, tell the places of the rest."""
        self._undecided = {
            id: sent for id, sent in self._undecided.items() if now - sent[1] < UNDECIDED_SECONDS
        }
        records = self._losses(now)
        attempts = [tuning.attempt for tuning in self._live.values() if tuning.attempt is not None]
        attempts += [attempt for attempt, _ in self._undecided.values()]
        taken = {(attempt.worker, attempt.session, attempt.slot) for attempt in attempts}
        waiting = [
            Waiting(
                tuning.id,
                tuning.priority,
                tuning.created_at,
                tuning.memory,
                tuning.attempts + 1,
                not_before(tuning),
            )
            for tuning in self._live.values()
            if tuning.attempt is None and tuning.id not in self._undecided
        ]
        made = plan(waiting, self._fleet.free_slots(taken, now), wall)
        for assignment in made.assignments:
            slot = assignment.slot
            attempt = Attempt(assignment.attempt, slot.worker, slot.session, slot.index)
            self._undecided[assignment.tuning_id] = (attempt, now)
            records.append(_command(assignment.tuning_id, AssignAttempt(attempt), attempt, "assign"))
            logger.info(
                "attempt_assigned", job_id=assignment.tuning_id, attempt=attempt.number, worker=attempt.worker
            )
        changed = {id: place for id, place in made.places.items() if self._places.get(id) != place}
        gone = [id for id in self._places if id not in made.places]
        records += [queue_record(id, QueuePlace(place)) for id, place in changed.items()]
        records += [queue_record(id, None) for id in gone]
        if records:
            await self._writer.commit(records)
        self._places = made.places

    def _losses(self, now: float) -> list[Record]:
        records: list[Record] = []
        live: set[tuple[str, int]] = set()
        for tuning in self._live.values():
            attempt = tuning.attempt
            if attempt is None:
                continue
            live.add((tuning.id, attempt.number))
            if tuning.id in self._undecided:
                continue
            if (reason := self._fleet.lost(tuning.id, attempt, now)) is not None:
                logger.warning(
                    "attempt_lost",
                    job_id=tuning.id,
                    attempt=attempt.number,
                    worker=attempt.worker,
                    reason=reason,
                )
                report = ReportLost(attempt.number, attempt.session, reason)
                records.append(_command(tuning.id, report, attempt, "lost"))
                # Until the decision is seen, this attempt is not judged again.
                self._undecided[tuning.id] = (
                    msgspec.structs.replace(attempt, number=attempt.number + 1),
                    now,
                )
        self._fleet.forget(live)
        return records


def not_before(tuning: Tuning) -> datetime | None:
    """After a lost attempt the next one waits a little, longer with each."""
    if tuning.lost_at is None:
        return None
    return tuning.lost_at + min(LONGEST_BACKOFF, timedelta(seconds=0.5 * 2 ** min(tuning.attempts, 8)))


def _command(tuning_id: str, body: Any, attempt: Attempt, what: str) -> Record:
    """The same decision about the same attempt is the same command, whoever sends it again."""
    return command_record(
        TUNINGS,
        id=derive_id("cmd", what, tuning_id, str(attempt.number), attempt.session, str(attempt.slot)),
        aggregate_id=tuning_id,
        actor="system:scheduler",
        correlation_id=derive_id("plan", tuning_id, str(attempt.number)),
        source="scheduler",
        body=body,
    )
