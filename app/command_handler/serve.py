"""The role: a task for each command partition that this process owns."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import structlog

from app.command_handler.partition import serve_partition
from app.domain.streams import STREAMS
from app.log import bounds, topics
from app.log.port import Fenced, Log, LogError, Membership, Partition, Unavailable

GROUP = "tunesmith-command-handler"

logger = structlog.get_logger("command_handler")


class GaveUp(Exception):
    """A partition failed too often in a row, with brokers that answer; a fresh process may do better."""


async def serve(log: Log, stop: asyncio.Event, streams: Iterable[str] = STREAMS) -> None:
    """Decide commands until `stop`. Raises `GaveUp`."""
    deciders = {topics.commands(name): STREAMS[name] for name in streams}
    membership = await log.join(GROUP, deciders)
    writing: dict[Partition, asyncio.Task[None]] = {}
    positions: dict[Partition, int] = {}
    fenced = asyncio.Event()
    publishing = asyncio.create_task(_publish(membership, positions))
    try:
        while not stop.is_set():
            owned = await _next_ownership(membership, writing, fenced, stop)
            if owned is None:
                continue
            writing = {partition: task for partition, task in writing.items() if not task.done()}
            left = sorted(set(writing) - owned)
            await _end([writing.pop(partition) for partition in left])
            for partition in left:
                logger.info("partition_left", topic=partition.topic, partition=partition.number)
            for partition in sorted(owned - set(writing)):
                writing[partition] = asyncio.create_task(
                    _write(
                        log, membership, deciders[partition.topic].stream, partition, stop, fenced, positions
                    ),
                    name=f"write {partition}",
                )
    finally:
        stop.set()
        await _end(list(writing.values()), gently=True)
        await _end([publishing])
        await membership.publish(positions)
        await membership.close()


async def _publish(membership: Membership, positions: dict[Partition, int]) -> None:
    """Let lag monitors see where the partitions are; what is told here is read by nobody of ours."""
    told: dict[Partition, int] = {}
    while True:
        await asyncio.sleep(bounds.PUBLISH_SECONDS)
        if positions != told:
            told = positions.copy()
            await membership.publish(told)


async def _next_ownership(
    membership: Membership,
    writing: dict[Partition, asyncio.Task[None]],
    fenced: asyncio.Event,
    stop: asyncio.Event,
) -> frozenset[Partition] | None:
    """Wait for what comes first: another ownership, a fence, a lost group, one that gave up, or the stop."""
    changed = asyncio.create_task(membership.changed())
    stopped, lost = asyncio.create_task(stop.wait()), asyncio.create_task(fenced.wait())
    try:
        running = [task for task in writing.values() if not task.done()]
        await asyncio.wait([changed, stopped, lost, *running], return_when=asyncio.FIRST_COMPLETED)
        if fenced.is_set():
            await asyncio.wait(
                [changed, stopped], timeout=bounds.HEARD_WITHIN, return_when=asyncio.FIRST_COMPLETED
            )
        for task in writing.values():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        lost_it = fenced.is_set()
        fenced.clear()
        if changed.done():
            try:
                return changed.result()
            except Unavailable as error:
                logger.warning("group_lost", error=str(error))
                lost_it = True
        if lost_it and not stop.is_set():
            # Another process holds what we thought was ours: only a new assignment makes it ours again.
            await _end(list(writing.values()))
            writing.clear()
            await _rejoin(membership, stop)
        return None
    finally:
        await _end([changed, stopped, lost])


async def _rejoin(membership: Membership, stop: asyncio.Event) -> None:
    """Join the group anew, however long the brokers are away."""
    failures = 0
    while not stop.is_set():
        try:
            await membership.rejoin()
        except Unavailable as error:
            failures += 1
            logger.warning("group_not_joined", error=str(error))
            await _back_off(failures, stop)
        else:
            return


async def _write(
    log: Log,
    membership: Membership,
    stream: str,
    partition: Partition,
    stop: asyncio.Event,
    fenced: asyncio.Event,
    positions: dict[Partition, int],
) -> None:
    """Write one partition, from the fence on again after every error, until `stop` or another's fence.

    Brokers that are away are waited for; no fresh process would find them sooner.
    """

    def decided_up_to(offset: int) -> None:
        positions[partition] = offset

    failures = attempts = 0
    while not stop.is_set():
        before = positions.get(partition)
        try:
            if attempts and not await membership.holds(partition):
                raise Fenced("it is no longer this member's")
            await serve_partition(log, STREAMS[stream], partition.number, stop, decided_up_to)
        except Fenced as error:
            logger.warning("fenced", stream=stream, partition=partition.number, error=str(error))
            fenced.set()
            return
        except Exception as error:  # whatever it was, the outcome is unknown
            # Whoever decided something in between has not failed in a row.
            in_a_row = positions.get(partition) == before
            attempts = attempts + 1 if in_a_row else 1
            failures = (failures if in_a_row else 0) + (not isinstance(error, Unavailable))
            known = isinstance(error, LogError | TimeoutError)
            logger.log(
                logging.WARNING if known else logging.CRITICAL,
                "partition_failed",
                stream=stream,
                partition=partition.number,
                error=repr(error),
                exc_info=not known,
            )
            if failures >= bounds.FAILURES_BEFORE_EXIT:
                raise GaveUp(
                    f"{stream} partition {partition.number} failed {failures} times: {error}"
                ) from error
            await _back_off(attempts, stop)


async def _back_off(failures: int, stop: asyncio.Event) -> None:
    delay = min(bounds.LONGEST_BACKOFF, bounds.FIRST_BACKOFF * 2 ** min(failures, 10)) * random.uniform(
        0.5, 1.5
    )
    with suppress(TimeoutError):
        async with asyncio.timeout(delay):
            await stop.wait()


async def _end(tasks: list[asyncio.Task[Any]], *, gently: bool = False) -> None:
    """End partition tasks; gently: `stop` is set, so let each finish the batch in its hands."""
    if gently and tasks:
        await asyncio.wait(tasks, timeout=bounds.COMMIT_WITHIN + bounds.CLOSE_WITHIN)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
