"""What goes on beside a fuzzing, so that there is something to pause, resume, download and create."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

from app.domain.accounts import RevokeKey
from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    Checkpoint,
    ReportCheckpoint,
    ReportPaused,
    ReportStarted,
)
from app.domain.webhooks import RemoveWebhook
from app.log.workers import Device, Heartbeat, Slot, heartbeat_record
from app.reactors.deliveries import Sending
from app.reactors.retrying import Schedule
from tests.integration.api.service import INSTALLATION_KEY, Running, memory_log, running
from tests.integration.docs.trainer import Trainer

WORKER = "gpu-box"
KEPT_WEBHOOKS, KEPT_KEYS = 8, 100  # an account may have twice as many
NEWEST = """
SELECT DISTINCT ON (tuning_id) tuning_id AS id, version, split_part(type, '.', 3) AS event,
    (SELECT count(*) FROM tuning_events e
     WHERE e.tuning_id = t.tuning_id AND split_part(e.type, '.', 3) = 'dispatched') AS attempts
FROM tuning_events t ORDER BY tuning_id, version DESC
"""
OLD_WEBHOOKS = "SELECT id FROM webhooks WHERE account_id = $1 ORDER BY created_at DESC, id OFFSET $2"
OLD_KEYS = """
SELECT id FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL
ORDER BY name = 'fuzz' DESC, created_at DESC, id OFFSET $2
"""


@asynccontextmanager
async def fuzzed_service(dsn: str, folder: Path) -> AsyncIterator[Running]:
    """A service over the log in memory that sends webhooks, once each."""
    sending = Sending(
        installation_key=INSTALLATION_KEY,
        allowed=(ip_network("127.0.0.0/8"),),
        schedule=Schedule((), 1.0),
        looks_every=0.05,
    )
    async with running(memory_log(), dsn, folder, sending=sending) as service:
        yield service


async def keep_company(service: Running) -> None:
    """Train what is created and make room for more, until cancelled."""
    async with asyncio.TaskGroup() as work:
        work.create_task(_live(service))
        work.create_task(_make_room(service))
        known, number = set[tuple[str, int]](), count()
        while True:
            for row in await service.sql(NEWEST):
                if (row["id"], row["version"]) not in known:
                    known.add((row["id"], row["version"]))
                    work.create_task(_act(service, row["id"], row["event"], row["attempts"], next(number)))
            await asyncio.sleep(0.2)


async def _act(service: Running, id: str, event: str, attempts: int, number: int) -> None:
    """What comes of a tuning's newest event: some wait, some succeed, some run until somebody stops them."""
    match event:
        case "created" if number % 3 == 1:
            await Trainer(service).train(id, patient=False)
        case "created" if number % 3 == 2:
            await _report(service, id, *_begin(1))
        case "pause_requested":
            checkpoint = Checkpoint(8, 0, 8, f"tunings/{id}/checkpoints/8", "ab" * 32, 100)
            await _report(
                service, id, ReportCheckpoint(attempts, "s", checkpoint), ReportPaused(attempts, "s")
            )
        case "resumed":
            await _report(service, id, *_begin(attempts + 1))


def _begin(attempt: int) -> tuple[Any, ...]:
    return AssignAttempt(Attempt(attempt, WORKER, "s", 0)), ReportStarted(attempt, "s")


async def _report(service: Running, id: str, *bodies: Any) -> None:
    for body in bodies:
        await service.send("tunings", id, body, actor=f"worker:{WORKER}")


async def _live(service: Running) -> None:
    """Else `/health` says 503, as it must, and schemathesis takes every 5xx for a fault."""
    writer = await service.log.writer()
    while True:
        await writer.send(heartbeat_record(Heartbeat(WORKER, "s", 1, (Slot(0, Device("cpu", "cpu", 1)),))))
        await asyncio.sleep(5)


async def _make_room(service: Running) -> None:
    """Else the account soon has all the webhooks and keys that it may have, and no more are created."""
    while True:
        for row in await service.sql(OLD_WEBHOOKS, service.account, KEPT_WEBHOOKS):
            await service.send("accounts", service.account, RemoveWebhook(row["id"]))
        for row in await service.sql(OLD_KEYS, service.account, KEPT_KEYS):
            await service.send("accounts", service.account, RevokeKey(row["id"]))
        await asyncio.sleep(1)
