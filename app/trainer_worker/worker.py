"""The worker: registers models, keeps its slots warm, takes orders of its own session, beats."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from app.catalogue.catalogue import CATALOGUE
from app.domain.ids import derive_id
from app.domain.models import MODELS, RegisterModel
from app.domain.tunings import HandBackAttempt, Order, PauseAttempt, RunAttempt, StopAttempt
from app.log import topics
from app.log.codec import command_record
from app.log.port import Log, LogError, Reader, Start, all_partitions
from app.log.workers import Heartbeat, heartbeat_record
from app.settings import Settings
from app.storage.store import Store
from app.trainer_worker.devices import inventory, places
from app.trainer_worker.models import obtaining
from app.trainer_worker.reports import Reports
from app.trainer_worker.slot import WarmSlot
from app.trainer_worker.surroundings import surroundings, trackers_of

BEAT_SECONDS = 2.0
PAUSE_AFTER_ERROR = 1.0
HAND_BACK_SHARE = 0.7  # of the seconds that a role has to end: children are ended after that

LAST_REPORT_WITHIN = 2.0
OF_STALL = 0.5  # processes of an attempt notice that one of them hangs before the scheduler does

logger = structlog.get_logger("trainer_worker")
orders: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Order)


async def serve(
    settings: Settings, log: Log, store: Store, folder: Path, stop: asyncio.Event, worker: str
) -> None:
    """The role: carry out attempts until `stop`, then hand back what runs and end the children."""
    session = uuid4().hex[:12]
    structlog.contextvars.bind_contextvars(worker=worker, session=session)
    reports = Reports(log, worker)
    shutil.rmtree(folder, ignore_errors=True)  # what a killed worker left
    changed = asyncio.Event()
    trackers, visible = trackers_of(settings), os.environ.get("CUDA_VISIBLE_DEVICES")
    tracking = (settings.tracking_dir or settings.data_dir / "tracking").resolve()
    slots = [
        WarmSlot(
            index,
            folder / f"slot-{index}",
            obtaining(settings),
            store,
            reports,
            changed.set,
            place,
            surroundings(os.environ, place.visible, trackers, tracking),
            settings.checkpoint_seconds,
            settings.stall_seconds * OF_STALL,
        )
        for index, place in enumerate(
            places(
                await inventory(),
                visible,
                slots=settings.slots,
                per_device=settings.slots_per_device,
                devices_per_slot=settings.devices_per_slot,
            )
        )
    ]
    # From the end as of now, and before the first heartbeat: nothing ordered of this session can be missed.
    reader = await _order_reader(log)
    await _register_models(reports, worker)
    tasks = [
        asyncio.create_task(_take_orders(log, reader, slots, worker, session), name="orders"),
        asyncio.create_task(_beat(reports, slots, worker, session, changed), name="heartbeats"),
        *(asyncio.create_task(slot.keep_warm(), name="slot") for slot in slots),
    ]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        within = settings.drain_seconds * HAND_BACK_SHARE
        with suppress(TimeoutError):
            async with asyncio.timeout(within + LAST_REPORT_WITHIN):
                await asyncio.gather(*(slot.hand_back(within) for slot in slots))
        for running in (stopped, *tasks):
            running.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)
        await reports.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _register_models(reports: Reports, worker: str) -> None:
    """Offer what the catalogue has; what is known already changes nothing."""
    for entry in CATALOGUE.values():
        body = RegisterModel(
            entry.revision, entry.context_length, entry.parameters, entry.license, entry.template
        )
        await reports.until_taken(
            command_record(
                MODELS,
                id=derive_id("cmd", "register", worker, uuid4().hex),
                aggregate_id=entry.id,
                actor=f"worker:{worker}",
                correlation_id=derive_id("register", entry.id, entry.revision),
                source="trainer-worker",
                body=body,
            )
        )


async def _order_reader(log: Log) -> Reader:
    return await log.reader(dict.fromkeys(await all_partitions(log, topics.WORK), Start.END))


async def _take_orders(log: Log, reader: Reader, slots: list[WarmSlot], worker: str, session: str) -> None:
    """Take the orders for this worker in this session, in order; others are not ours, or of a former life."""
    positions: dict[Any, int] = {}
    try:
        while True:
            try:
                for record in await reader.fetch(500, 1.0):
                    positions[record.partition] = record.offset + 1
                    if record.key == worker and record.value is not None:
                        await _obey(record.value, slots, session)
            except LogError as error:
                logger.warning("orders_interrupted", error=str(error))
                await asyncio.sleep(PAUSE_AFTER_ERROR)
                with suppress(LogError):
                    partitions = await all_partitions(log, topics.WORK)
                    resumed = await log.reader({one: positions.get(one, Start.END) for one in partitions})
                    await reader.close()
                    reader = resumed
    finally:
        await reader.close()


async def _obey(value: bytes, slots: list[WarmSlot], session: str) -> None:
    """Carry out an order. One that this version cannot read is declined by silence: its lease runs out."""
    try:
        order = orders.decode(value)
    except msgspec.DecodeError as error:
        logger.error("order_unreadable", error=str(error))
        return
    match order:
        case RunAttempt(attempt=attempt) if attempt.session == session and attempt.slot < len(slots):
            await slots[attempt.slot].take(order)
        case StopAttempt() if order.session == session:
            for slot in slots:
                slot.stop(order.tuning_id, order.attempt)
        case PauseAttempt() if order.session == session:
            for slot in slots:
                slot.rest(order.tuning_id, order.attempt)
        case HandBackAttempt() if order.session == session:
            for slot in slots:
                slot.rest(order.tuning_id, order.attempt, order.reason)


async def _beat(
    reports: Reports, slots: list[WarmSlot], worker: str, session: str, changed: asyncio.Event
) -> None:
    """Beat every 2 s, and at once when something changed."""
    version = importlib.metadata.version("tunesmith-server")
    beat = 0
    while True:
        changed.clear()
        beat += 1
        told = tuple(slot for slot in (one.told() for one in slots) if slot is not None)
        try:
            await reports.send(heartbeat_record(Heartbeat(worker, session, beat, told, version=version)))
        except LogError as error:
            logger.warning("heartbeat_failed", error=str(error))
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_SECONDS):
                await changed.wait()
