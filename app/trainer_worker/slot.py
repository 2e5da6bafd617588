"""One slot: a warm child at rest, an attempt on it at work, a fresh child after each."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog
from msgspec.structs import replace

from app.domain.tunings import LossReason, ReportLost, RunAttempt
from app.log.workers import Occupant, Slot
from app.storage.store import Store
from app.trainer_worker.attempt import Resting, run_attempt
from app.trainer_worker.attempt_log import leave_log
from app.trainer_worker.child import Child, ChildDied
from app.trainer_worker.devices import Place, device_of
from app.trainer_worker.models import Obtain, at_hand
from app.trainer_worker.reports import Reports
from app.trainer_worker.training.frames import FrameError
from app.trainer_worker.training.plan import CHECKPOINT_SECONDS, STALL_SECONDS

PAUSE_AFTER_DEATH = 5.0
RESTS_WITHIN = 300.0  # a step, a checkpoint, and its way into the store

logger = structlog.get_logger("trainer_worker")


class WarmSlot:
    """A place for one attempt. `on_change` is called whenever its heartbeat would tell something new."""

    def __init__(
        self,
        index: int,
        folder: Path,
        obtain: Obtain,
        store: Store,
        reports: Reports,
        on_change: Callable[[], None],
        place: Place,
        environment: Mapping[str, str],
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._index, self._folder, self._obtain = index, folder, obtain
        self._store, self._reports, self._on_change = store, reports, on_change
        self._place, self._environment = place, environment
        self._child: Child | None = None
        self._orders: asyncio.Queue[RunAttempt] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None
        self._occupant: Occupant | None = None
        self._order: RunAttempt | None = None
        self._resting = Resting()
        self._checkpoint_seconds, self._stall_seconds = checkpoint_seconds, stall_seconds
        self._closing = False

    def told(self) -> Slot | None:
        """The slot as a heartbeat tells it; None until its child is warm."""
        if self._child is None or self._child.ready is None:
            return None
        ready = self._child.ready
        return Slot(self._index, device_of(ready, self._place), self._occupant)

    async def keep_warm(self) -> None:
        """Keep a warm child at rest and carry out what is ordered, for ever; replace a child that dies."""
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            child = await Child.start(
                self._folder / "child.log", self._environment, processes=self._place.devices
            )
            try:
                await child.until_ready()
                self._child = child
                self._on_change()
                await self._carry_out(await self._next_order(child), child)
            except (ChildDied, FrameError) as error:
                logger.error("child_died_at_rest", slot=self._index, error=str(error))
                await asyncio.sleep(PAUSE_AFTER_DEATH)
            finally:
                await child.stop()
                self._child, self._occupant = None, None
                self._on_change()
                if (order := self._order) is not None:  # however it ended, and with the child's last words
                    self._order = None
                    await leave_log(self._store, order.tuning.id, order.attempt.number, child.output)

    async def _next_order(self, child: Child) -> RunAttempt:
        ordered, died = asyncio.create_task(self._orders.get()), asyncio.create_task(child.wait())
        try:
            await asyncio.wait([ordered, died], return_when=asyncio.FIRST_COMPLETED)
            if ordered.done():
                return ordered.result()
            raise ChildDied(died.result())
        finally:
            ordered.cancel()
            died.cancel()

    async def _carry_out(self, order: RunAttempt, child: Child) -> None:
        self._order, self._resting = order, Resting()
        self._running = asyncio.create_task(self._run(order, child, self._resting))
        try:
            await asyncio.wait([self._running])
        finally:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def _run(self, order: RunAttempt, child: Child, resting: Resting) -> None:
        work = self._folder / f"{order.tuning.id}-{order.attempt.number}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            await run_attempt(
                order,
                child,
                partial(at_hand, order, self._obtain, self._reports, self._detail),
                work,
                self._store,
                self._reports,
                self._progress,
                resting,
                self._checkpoint_seconds,
                self._stall_seconds,
            )
        except asyncio.CancelledError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        except Exception as error:  # whatever a worker stumbles over, the attempt must not hang
            logger.error(
                "attempt_broke", job_id=order.tuning.id, attempt=order.attempt.number, exc_info=error
            )
            await self._lose(order, "worker_error")

    async def _lose(self, order: RunAttempt, reason: LossReason) -> None:
        lost = ReportLost(order.attempt.number, order.attempt.session, reason)
        await self._reports.report(order.tuning.id, order.attempt, "lost", lost)

    def _progress(self, phase: str, step: int, seconds_left: float | None) -> None:
        if (here := self._occupant) is not None:
            self._occupant = Occupant(here.tuning_id, here.attempt, phase, step, seconds_left)

    def _detail(self, detail: str) -> None:
        if (here := self._occupant) is not None:
            self._occupant = replace(here, detail=detail)

    async def take(self, order: RunAttempt) -> None:
        """Take an order; one for a slot that is not free is declined."""
        if self._occupant is not None or self._child is None or self._closing:
            logger.warning("order_declined", job_id=order.tuning.id, attempt=order.attempt.number)
            await self._lose(order, "order_declined")
            return
        self._occupant = Occupant(order.tuning.id, order.attempt.number)
        self._orders.put_nowait(order)
        self._on_change()

    def stop(self, tuning_id: str, attempt: int) -> None:
        """Stop this attempt, if it is the one here: its child ends, the slot is free again."""
        if self._is_here(tuning_id, attempt) and self._running is not None:
            logger.info("attempt_stopped", job_id=tuning_id, attempt=attempt)
            self._running.cancel()

    def rest(self, tuning_id: str, attempt: int, reason: LossReason | None = None) -> None:
        """Bring this attempt to rest, if it is the one here: for a pause, or to hand it back for a reason."""
        if self._is_here(tuning_id, attempt):
            self._resting.ask(RESTS_WITHIN, reason)

    def _is_here(self, tuning_id: str, attempt: int) -> bool:
        here = self._occupant
        return here is not None and (here.tuning_id, here.attempt) == (tuning_id, attempt)

    async def hand_back(self, within: float) -> None:
        """Before the worker ends: bring the attempt here to rest within so many seconds, and hand it back."""
        self._closing = True
        order, running = self._order, self._running
        if order is None or running is None or running.done():
            return
        self._resting.ask(within, "drained")
        await asyncio.wait([running], timeout=within)
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
            await self._lose(order, "drained")
