"""The loop around the planner: tunings, accounts, heartbeats in; assignments, losses, queue places out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from app.log import topics
from app.log.port import Log, LogError, Partition, Start, all_partitions
from app.scheduler.scheduler import Scheduler
from app.settings import Settings

TRANSACTIONAL_ID = GROUP = "tunesmith-scheduler"
TICK_SECONDS = 0.25
GATHER_SECONDS = 0.1  # a plan for a burst of creates, not one for each
REST_AFTER_PLAN = 20  # times what it took: thousands of waiting jobs must not keep this loop busy with plans
PAUSE_AFTER_ERROR = 1.0
ENDS_WITHIN = 5.0

logger = structlog.get_logger("scheduler")


def _now() -> datetime:
    return datetime.now(UTC)


async def serve(
    settings: Settings, log: Log, stop: asyncio.Event, clock: Callable[[], datetime] = _now
) -> None:
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
                planning = asyncio.create_task(_plan(settings, log, stop, clock)) if ours else None
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


async def _plan(settings: Settings, log: Log, stop: asyncio.Event, clock: Callable[[], datetime]) -> None:
    """Plan for as long as it is ours to do, from the fence on again after every error."""
    while not stop.is_set():
        try:
            await _plan_on(settings, log, stop, clock)
        except LogError as error:
            logger.warning("scheduler_interrupted", error=str(error))
            await asyncio.sleep(PAUSE_AFTER_ERROR)


async def _plan_on(settings: Settings, log: Log, stop: asyncio.Event, clock: Callable[[], datetime]) -> None:
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
                await scheduler.tick(planned, clock())
                took = time.monotonic() - planned
        finally:
            await reader.close()
    finally:
        await writer.close()
