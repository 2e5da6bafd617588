"""What the planner is told, and what is sent on its word."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from app.domain.accounts import ACCOUNTS, Account
from app.domain.ids import derive_id
from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    GivenBack,
    PreemptAttempt,
    ReportLost,
    Tuning,
)
from app.log import topics
from app.log.aggregates import read_aggregate
from app.log.codec import command_record, where
from app.log.port import Reader, Received, Record, TransactionalWriter
from app.log.queue import QueuePlace, queue_record
from app.log.workers import Control, control_record, read_control, read_heartbeat
from app.scheduler.failing import Failing
from app.scheduler.fleet import Fleet, LivingSlot
from app.scheduler.forecast import GIVEN_BACK_WITHIN, as_told, forecast
from app.scheduler.pace import Pace
from app.scheduler.planner import plan
from app.scheduler.queueing import NEVER, FreeSlot, Rules, Running, Standing, Waiting, spared_until
from app.scheduler.usage import Usage
from app.settings import Settings

REST_AFTER_FORECAST = 50
UNDECIDED_SECONDS = 10.0
GIVING_BACK_SECONDS = 120.0  # whoever has not given its slot back by then is not waited for
LONGEST_BACKOFF = timedelta(seconds=60)

logger = structlog.get_logger("scheduler")

Place = tuple[str, str, int]  # worker, session, slot


class Scheduler:
    """The one that plans: what it heard of tunings, accounts and workers, and what it sent."""

    def __init__(self, settings: Settings, writer: TransactionalWriter) -> None:
        self._writer = writer
        self._fleet = Fleet(settings.lease_seconds, settings.stall_seconds)
        self._rules = Rules(
            settings.share_half_life_seconds,
            timedelta(seconds=settings.patience_seconds),
            settings.preemption_margin,
        )
        self._running_limit = settings.running_tunings
        self._accounts: dict[str, Account] = {}
        self._live: dict[str, Tuning] = {}
        self._waiting: dict[str, Waiting] = {}
        # Sent, and not yet seen decided: what was assigned, and the attempts given up.
        self._assigned: dict[str, tuple[Attempt, float]] = {}
        self._given_up: dict[str, tuple[Attempt, float]] = {}
        self._asked_back: dict[str, tuple[Attempt, float]] = {}  # as long as the attempt is there
        # When each account's longest waiting last started. Who starts anew does not know: one tuning of
        # each account may then be due at once.
        self._passed_on: dict[str, datetime] = {}
        self._usage = Usage(settings.share_half_life_seconds)
        self._failing = Failing()
        self._to_set_aside: list[Control] = []
        self._told: dict[str, QueuePlace] = {}
        self._pace = Pace()
        self._starts: dict[str, datetime] = {}
        self._forecast_due = 0.0

    async def read_up(self, reader: Reader, ends: dict[Any, int]) -> None:
        """Take in everything up to these offsets before the first plan."""
        while any([await reader.position(source) < end for source, end in ends.items()]):
            self.take(await reader.fetch(5_000, 0.5))
        self._to_set_aside.clear()  # that is long ago

    def take(self, records: list[Received]) -> None:
        """Take in states, heartbeats and control records."""
        now = time.monotonic()
        for record in records:
            if record.partition.topic == topics.WORKERS:
                if (heartbeat := read_heartbeat(record)) is not None:
                    self._fleet.hear(heartbeat, now)
                elif (control := read_control(record)) is not None:
                    self._fleet.control(control, record.at)
            elif record.value is not None and record.key is not None and not record.key.startswith("!"):
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
        before = self._live.get(tuning.id)
        if before is not None and before.attempt is not None and tuning.attempt != before.attempt:
            self._asked_back.pop(tuning.id, None)
            if (why := self._failing.take(before.attempt, tuning)) is not None:
                logger.warning("worker_set_aside", worker=before.attempt.worker, reason=why)
                self._to_set_aside.append(self._fleet.set_aside(before.attempt, why))
        self._usage.take(tuning)
        if tuning.ended:
            self._live.pop(tuning.id, None)
            self._pace.end(tuning)
        else:
            self._live[tuning.id] = tuning
        if tuning.ended or tuning.attempt is not None or tuning.status == "paused":
            self._waiting.pop(tuning.id, None)
        else:
            self._waiting[tuning.id] = _as_waiting(tuning)
        assigned, given_up = self._assigned.get(tuning.id), self._given_up.get(tuning.id)
        if assigned is not None and (tuning.ended or tuning.attempts >= assigned[0].number):
            del self._assigned[tuning.id]
        if given_up is not None and tuning.attempt != given_up[0]:
            del self._given_up[tuning.id]

    async def tick(self, now: float, wall: datetime) -> None:
        """Report what is lost, assign what can start, ask back what must go, tell the places of the rest.

        In a thread: with thousands of waiting it takes long enough for others on this loop to notice.
        """
        records, told = await asyncio.to_thread(self._decided, now, wall)
        if records:
            await self._writer.commit(records)
        self._told = told

    def _decided(self, now: float, wall: datetime) -> tuple[list[Record], dict[str, QueuePlace]]:
        for sent in (self._assigned, self._given_up):
            for id in [id for id, (_, at) in sent.items() if now - at >= UNDECIDED_SECONDS]:
                del sent[id]
        records = self._losses(now) + self._controls(wall) + self._drains(now)
        free, running = self._slots(now, wall)
        waiting = [one for id, one in self._waiting.items() if id not in self._assigned]
        standings = self._standings(wall)
        if now >= self._forecast_due:
            began = time.monotonic()
            self._starts = self._forecast(waiting, free, running, standings, wall)
            self._forecast_due = now + (time.monotonic() - began) * REST_AFTER_FORECAST
        made = plan(waiting, free, wall, standings, running, self._rules)
        for assignment in made.assignments:
            slot = assignment.slot
            attempt = Attempt(assignment.attempt, slot.worker, slot.session, slot.index)
            self._assigned[assignment.tuning_id] = (attempt, now)
            if assignment.longest:
                self._passed_on[assignment.account_id] = wall
            records.append(_command(assignment.tuning_id, AssignAttempt(attempt), attempt, "assign"))
            logger.info(
                "attempt_assigned", job_id=assignment.tuning_id, attempt=attempt.number, worker=attempt.worker
            )
        for held in made.preempted:
            if held.tuning is not None:
                records.append(self._ask_back(self._live[held.tuning.tuning_id], "preempted", now))
        told = {id: self._place(id, position, wall) for id, position in made.places.items()}
        records += [queue_record(id, place) for id, place in told.items() if self._told.get(id) != place]
        records += [queue_record(id, None) for id in self._told if id not in told]
        return records, told

    def _place(self, id: str, position: int, wall: datetime) -> QueuePlace:
        told = self._told.get(id)
        return QueuePlace(
            position, as_told(told.estimated_start if told else None, self._starts.get(id), wall)
        )

    def _slots(self, now: float, wall: datetime) -> tuple[list[FreeSlot], list[Running]]:
        """The slots of those workers that take work: free, and with something on them."""
        given = {id: attempt for id, (attempt, _) in self._assigned.items() if id in self._live}
        given |= {id: tuning.attempt for id, tuning in self._live.items() if tuning.attempt is not None}
        holders: dict[Place, str] = {(one.worker, one.session, one.slot): id for id, one in given.items()}
        free, running = [], []
        for slot in self._fleet.living_slots(now):
            if (id := holders.get((slot.worker, slot.session, slot.index))) is not None:
                running.append(self._running(slot, self._live[id], now, wall))
            elif slot.occupied_by is not None:  # that attempt is over, and its device is about to be free
                running.append(Running(slot.memory, wall, None, wall, leaving=True))
            else:
                free.append(FreeSlot(slot.worker, slot.session, slot.index, slot.memory))
        return free, running

    def _running(self, slot: LivingSlot, tuning: Tuning, now: float, wall: datetime) -> Running:
        id = tuning.id
        if tuning.attempt is None:  # just assigned
            return Running(slot.memory, wall, _as_waiting(tuning), spared_until=NEVER)
        since = tuning.moved_at or wall
        asked = self._asked_back.get(id)
        until = None
        if slot.occupied_by == id and slot.seconds_left is not None:
            until = wall + timedelta(seconds=slot.seconds_left)
        gives_back = asked is not None and now - asked[1] < GIVING_BACK_SECONDS
        return Running(
            slot.memory,
            since,
            _as_waiting(tuning),
            wall + GIVEN_BACK_WITHIN if gives_back or tuning.pausing else until,
            leaving=gives_back or tuning.pausing or (slot.saving and slot.occupied_by == id),
            returns=gives_back and not tuning.pausing,
            spared_until=NEVER if asked is not None else spared_until(tuning.attempts, since),
        )

    def _forecast(
        self,
        waiting: list[Waiting],
        free: list[FreeSlot],
        running: list[Running],
        standings: dict[str, Standing],
        wall: datetime,
    ) -> dict[str, datetime]:
        """The likely starts of those that wait."""
        if not waiting:
            return {}
        for held in running:
            if held.tuning is not None and held.until is not None and not held.leaving:
                left = (held.until - wall).total_seconds()
                self._pace.run(self._live[held.tuning.tuning_id], left, wall)
        seconds = self._pace.seconds(self._live)
        likely = []
        for held in running:
            until = held.until
            if held.tuning is not None and until is None:
                tuning = self._live[held.tuning.tuning_id]
                takes = self._pace.left(tuning, None, seconds.get(tuning.id), wall)
                until = None if takes is None else wall + timedelta(seconds=takes)
            likely.append(replace(held, until=until))
        return forecast(waiting, free, likely, wall, standings, seconds, self._rules)

    def _standings(self, wall: datetime) -> dict[str, Standing]:
        """How the accounts stand that have anything waiting or running."""
        running = Counter(
            tuning.account_id
            for id, tuning in self._live.items()
            if tuning.attempt is not None or id in self._assigned
        )
        standings: dict[str, Standing] = {}
        for id in running.keys() | {one.account_id for one in self._waiting.values()}:
            account = self._accounts.get(id)
            own = account.limits.running_tunings if account else None
            limit = self._running_limit if own is None else own
            standings[id] = Standing(
                room=limit - running[id] if limit else None,
                suspended=account is not None and account.suspended,
                used=self._usage.used(id, wall),
                held=running[id],
                passed_on=self._passed_on.get(id),
            )
        return standings

    def _ask_back(self, tuning: Tuning, reason: GivenBack, now: float) -> Record:
        """Have an attempt give its slot back; never twice."""
        attempt = tuning.attempt
        assert attempt is not None
        self._asked_back[tuning.id] = (attempt, now)
        logger.info(
            "attempt_asked_back",
            job_id=tuning.id,
            attempt=attempt.number,
            worker=attempt.worker,
            reason=reason,
        )
        body = PreemptAttempt(attempt.number, attempt.session, reason)
        return _command(tuning.id, body, attempt, reason)

    def _drains(self, now: float) -> list[Record]:
        """Have all given back that is on a drained worker."""
        drained = set(self._fleet.drained())
        return [
            self._ask_back(tuning, "drained", now)
            for tuning in (self._live.values() if drained else ())
            if tuning.attempt is not None
            and tuning.attempt.worker in drained
            and not tuning.pausing
            and tuning.id not in self._asked_back
        ]

    def _controls(self, wall: datetime) -> list[Record]:
        """Workers set aside, and records about workers that hold no more."""
        found = self._to_set_aside + self._fleet.corrections(wall)
        for control in found:
            self._fleet.control(control, wall)
        self._to_set_aside = []
        return [control_record(control) for control in found]

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


def _as_waiting(tuning: Tuning) -> Waiting:
    """A tuning as it waits for its next attempt."""
    return Waiting(
        tuning.id,
        tuning.priority,
        tuning.created_at,
        tuning.memory,
        tuning.attempts + 1,
        not_before(tuning),
        tuning.account_id,
        started=tuning.status == "running",
        since=tuning.moved_at,
    )


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
