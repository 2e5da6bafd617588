"""The loop around the planner: tunings, accounts, heartbeats in; assignments, losses, queue places out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog

from app.domain.accounts import ACCOUNTS, Account
from app.domain.ids import derive_id
from app.domain.tunings import TUNINGS, AssignAttempt, Attempt, ReportLost, Tuning
from app.log import topics
from app.log.aggregates import read_aggregate
from app.log.codec import command_record, where
from app.log.port import (
    Log,
    LogError,
    Partition,
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
from app.scheduler.forecast import BusySlot, as_told, forecast
from app.scheduler.pace import Pace
from app.scheduler.planner import FreeSlot, Quota, Waiting, plan
from app.settings import Settings

TRANSACTIONAL_ID = GROUP = "tunesmith-scheduler"
TICK_SECONDS = 0.25
GATHER_SECONDS = 0.1  # a plan for a burst of creates, not one for each
REST_AFTER_PLAN = 20  # times what it took: thousands of waiting jobs must not keep this loop busy with plans
REST_AFTER_FORECAST = 50
UNDECIDED_SECONDS = 10.0
LONGEST_BACKOFF = timedelta(seconds=60)
PAUSE_AFTER_ERROR = 1.0
ENDS_WITHIN = 5.0

logger = structlog.get_logger("scheduler")


async def serve(settings: Settings, log: Log, stop: asyncio.Event) -> None:
    """The role: plan until `stop`. Of several schedulers one plans, the others stand by."""
    membership = await log.join(GROUP, [topics.WORKERS])
    planning: asyncio.Task[None] | None = None
    changed, stopped = asyncio.create_task(membership.changed()), asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            await asyncio.wait(
                [one for one in (changed, stopped, planning) if one is not None],
                return_when=asyncio.FIRST_COMPLETED,
            )
            if planning is not None and planning.done():
                planning.result()
            if changed.done():
                await _end(planning)
                ours = Partition(topics.WORKERS, 0) in changed.result()
                planning = asyncio.create_task(_plan(settings, log, stop)) if ours else None
                changed = asyncio.create_task(membership.changed())
    finally:
        if planning is not None:
            await asyncio.wait([planning], timeout=ENDS_WITHIN)  # it sees `stop`, and ends between two plans
        for task in (changed, stopped, planning):
            await _end(task)
        await membership.close()


async def _end(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _plan(settings: Settings, log: Log, stop: asyncio.Event) -> None:
    """Plan for as long as it is ours to do, from the fence on again after every error."""
    while not stop.is_set():
        try:
            await _plan_on(settings, log, stop)
        except LogError as error:
            logger.warning("scheduler_interrupted", error=str(error))
            await asyncio.sleep(PAUSE_AFTER_ERROR)


async def _plan_on(settings: Settings, log: Log, stop: asyncio.Event) -> None:
    writer = await log.transactional_writer(TRANSACTIONAL_ID)
    try:
        names = (topics.state("tunings"), topics.state("accounts"), topics.WORKERS)
        sources = [source for name in names for source in await all_partitions(log, name)]
        reader = await log.reader(dict.fromkeys(sources, Start.FIRST))
        try:
            scheduler = Scheduler(settings, writer)
            await scheduler.read_up(reader, {source: await reader.end(source) for source in sources})
            planned = took = 0.0
            while not stop.is_set():
                heard = await reader.fetch(5_000, TICK_SECONDS)
                scheduler.take(heard)
                gather = max(GATHER_SECONDS, took * REST_AFTER_PLAN)
                if heard and (wait := planned + gather - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                    scheduler.take(await reader.fetch(5_000, 0))
                planned = time.monotonic()
                await scheduler.tick(planned, datetime.now(UTC))
                took = time.monotonic() - planned
        finally:
            await reader.close()
    finally:
        await writer.close()


class Scheduler:
    """What the planner is told, and what was sent on its word."""

    def __init__(self, settings: Settings, writer: TransactionalWriter) -> None:
        self._writer = writer
        self._fleet = Fleet(settings.lease_seconds, settings.stall_seconds)
        self._running_limit = settings.running_tunings
        self._accounts: dict[str, Account] = {}
        self._live: dict[str, Tuning] = {}
        self._waiting: dict[str, Waiting] = {}
        # Sent, and not yet seen decided: what was assigned, and the attempts given up.
        self._assigned: dict[str, tuple[Attempt, float]] = {}
        self._given_up: dict[str, tuple[Attempt, float]] = {}
        self._told: dict[str, QueuePlace] = {}
        self._pace = Pace()
        self._starts: dict[str, datetime] = {}
        self._forecast_due = 0.0

    async def read_up(self, reader: Reader, ends: dict[Any, int]) -> None:
        """Take in everything up to these offsets before the first plan."""
        while any([await reader.position(source) < end for source, end in ends.items()]):
            self.take(await reader.fetch(5_000, TICK_SECONDS))

    def take(self, records: list[Received]) -> None:
        """Take in tunings, accounts and heartbeats."""
        for record in records:
            if record.partition.topic == topics.WORKERS:
                if (heartbeat := read_heartbeat(record)) is not None:
                    self._fleet.hear(heartbeat, time.monotonic())
            elif record.key is not None and not record.key.startswith("!") and record.value is not None:
                try:
                    if record.partition.topic == topics.state("accounts"):
                        account: Account = read_aggregate(ACCOUNTS, record.value).state
                        self._accounts[account.id] = account
                    else:
                        self._take_tuning(read_aggregate(TUNINGS, record.value).state)
                except msgspec.DecodeError as error:
                    # Of another version; the command handler of this one writes it anew.
                    logger.warning("state_skipped", error=f"{where(record)}: {error}")

    def _take_tuning(self, tuning: Tuning) -> None:
        if tuning.ended:
            self._live.pop(tuning.id, None)
            self._pace.end(tuning)
        else:
            self._live[tuning.id] = tuning
        if tuning.ended or tuning.attempt is not None or tuning.status == "paused":
            self._waiting.pop(tuning.id, None)
        else:
            self._waiting[tuning.id] = Waiting(
                tuning.id,
                tuning.priority,
                tuning.created_at,
                tuning.memory,
                tuning.attempts + 1,
                not_before(tuning),
                tuning.account_id,
                started=tuning.status == "running",
            )
        assigned, given_up = self._assigned.get(tuning.id), self._given_up.get(tuning.id)
        if assigned is not None and (tuning.ended or tuning.attempts >= assigned[0].number):
            del self._assigned[tuning.id]
        if given_up is not None and tuning.attempt != given_up[0]:
            del self._given_up[tuning.id]

    async def tick(self, now: float, wall: datetime) -> None:
        """Report what is lost, assign what can start, tell the places of the rest."""
        for sent in (self._assigned, self._given_up):
            for id in [id for id, (_, at) in sent.items() if now - at >= UNDECIDED_SECONDS]:
                del sent[id]
        records = self._losses(now)
        attempts = [tuning.attempt for tuning in self._live.values() if tuning.attempt is not None]
        attempts += [attempt for attempt, _ in self._assigned.values()]
        taken = {(attempt.worker, attempt.session, attempt.slot) for attempt in attempts}
        waiting = [one for id, one in self._waiting.items() if id not in self._assigned]
        free, quotas = self._fleet.free_slots(taken, now), self._quotas(waiting)
        if now >= self._forecast_due:
            self._starts = await self._forecast(waiting, free, quotas, now, wall)
            # By the clock itself: `now` is when the tick began.
            self._forecast_due = now + (time.monotonic() - now) * REST_AFTER_FORECAST
        made = plan(waiting, free, wall, quotas)
        for assignment in made.assignments:
            slot = assignment.slot
            attempt = Attempt(assignment.attempt, slot.worker, slot.session, slot.index)
            self._assigned[assignment.tuning_id] = (attempt, now)
            records.append(_command(assignment.tuning_id, AssignAttempt(attempt), attempt, "assign"))
            logger.info(
                "attempt_assigned", job_id=assignment.tuning_id, attempt=attempt.number, worker=attempt.worker
            )
        told = {id: self._place(id, position, wall) for id, position in made.places.items()}
        records += [queue_record(id, place) for id, place in told.items() if self._told.get(id) != place]
        records += [queue_record(id, None) for id in self._told if id not in told]
        if records:
            await self._writer.commit(records)
        self._told = told

    def _place(self, id: str, position: int, wall: datetime) -> QueuePlace:
        told = self._told.get(id)
        return QueuePlace(
            position, as_told(told.estimated_start if told else None, self._starts.get(id), wall)
        )

    async def _forecast(
        self,
        waiting: list[Waiting],
        free: list[FreeSlot],
        quotas: dict[str, Quota],
        now: float,
        wall: datetime,
    ) -> dict[str, datetime]:
        """The likely starts of those that wait."""
        if not waiting:
            return {}
        given = {id: attempt for id, (attempt, _) in self._assigned.items()}
        given |= {id: tuning.attempt for id, tuning in self._live.items() if tuning.attempt is not None}
        holders = {(attempt.worker, attempt.session, attempt.slot): id for id, attempt in given.items()}
        held: list[tuple[int, Tuning | None, float | None]] = []
        for slot in self._fleet.living_slots(now):
            id = holders.get((slot.worker, slot.session, slot.index), slot.occupied_by)
            if id is not None:
                tuning, said = self._live.get(id), slot.seconds_left if slot.occupied_by == id else None
                held.append((slot.memory, tuning, said))
                if tuning is not None and said is not None:
                    self._pace.run(tuning, said, wall)
        seconds, busy = self._pace.seconds(self._live), []
        for memory, tuning, said in held:
            if tuning is None:  # it has ended, and its devices are about to be free
                busy.append(BusySlot(memory, "", wall))
                continue
            left = self._pace.left(tuning, said, seconds.get(tuning.id), wall)
            until = None if left is None else wall + timedelta(seconds=left)
            busy.append(BusySlot(memory, tuning.account_id, until))
        # In a thread: with thousands of waiting it takes long enough for others on this loop to notice.
        return await asyncio.to_thread(forecast, waiting, free, busy, wall, quotas, seconds)

    def _quotas(self, waiting: list[Waiting]) -> dict[str, Quota]:
        """What the accounts with something waiting may start."""
        running = Counter(
            tuning.account_id
            for id, tuning in self._live.items()
            if tuning.attempt is not None or id in self._assigned
        )
        quotas: dict[str, Quota] = {}
        for id in {one.account_id for one in waiting}:
            account = self._accounts.get(id)
            own = account.limits.running_tunings if account else None
            limit = self._running_limit if own is None else own
            room = limit - running[id] if limit else None
            quotas[id] = Quota(room, suspended=account is not None and account.suspended)
        return quotas

    def _losses(self, now: float) -> list[Record]:
        records: list[Record] = []
        live: set[tuple[str, int]] = set()
        for tuning in self._live.values():
            attempt = tuning.attempt
            if attempt is None:
                continue
            live.add((tuning.id, attempt.number))
            if tuning.id in self._given_up:
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
                self._given_up[tuning.id] = (attempt, now)
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
