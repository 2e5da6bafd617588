"""A trainer worker for the examples: whatever tuning is created is trained at once, and well."""

from __future__ import annotations

import asyncio
from typing import Any

from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    Checkpoint,
    EpochResult,
    ReportCheckpoint,
    ReportEpoch,
    ReportPaused,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
)
from app.log.metrics import Step, metric_record
from app.storage.logs import log_key
from tests.integration.api.service import Running, until

EVENTS = "SELECT type FROM tuning_events WHERE tuning_id = $1"
ENDS = {"succeeded", "failed", "cancelled"}


class Trainer:
    """While `patient`, a tuning goes on until it is paused once; otherwise it soon succeeds."""

    def __init__(self, service: Running) -> None:
        self._service = service
        self.patient = False

    async def work(self) -> None:
        """Train every tuning there is and will be."""
        known: set[str] = set()
        async with asyncio.TaskGroup() as training:
            while True:
                for row in await self._service.sql("SELECT id FROM tunings WHERE status = 'pending'"):
                    if row["id"] not in known:
                        known.add(row["id"])
                        training.create_task(self.train(row["id"], patient=self.patient))
                await asyncio.sleep(0.1)

    async def train(self, id: str, *, patient: bool) -> None:
        """Train one."""
        await self._report(id, AssignAttempt(Attempt(1, "gpu-box", "s", 0)), ReportStarted(1, "s"))
        await self._step(id, 1, 1)
        number = 1
        if patient:
            happened = await self._hears(id, "pause_requested")
            if happened & ENDS:
                return
            checkpoint = Checkpoint(8, 0, 8, f"tunings/{id}/checkpoints/8", "ab" * 32, 100)
            await self._report(id, ReportCheckpoint(1, "s", checkpoint), ReportPaused(1, "s"))
            if await self._hears(id, "resumed") & ENDS:
                return
            number = 2
            await self._report(id, AssignAttempt(Attempt(2, "gpu-box", "s", 0)), ReportStarted(2, "s"))
        await self._step(id, number, 2)
        await self._report(id, ReportEpoch(number, "s", EpochResult(1, 10, 1.5, 1.75)))
        await self._service.store.put_bytes(log_key(id, number), b"trained on gpu-box\n")
        results = (
            await self._stores(id, "adapter/adapter_config.json", b"{}"),
            await self._stores(id, "results/metrics.jsonl", b"{}\n"),
        )
        await self._report(id, ReportSucceeded(number, "s", 1.25, 1.5, 4096, results))

    async def _report(self, id: str, *bodies: Any) -> None:
        for body in bodies:
            await self._service.send("tunings", id, body, actor="worker:gpu-box")

    async def _hears(self, id: str, event: str) -> set[str]:
        """What has happened to the tuning, once this has or it has ended."""

        async def happened() -> set[str]:
            names = {row["type"].split(".")[2] for row in await self._service.sql(EVENTS, id)}
            return names if names & {event, *ENDS} else set()

        found: set[str] = await until(happened)
        return found

    async def _step(self, id: str, attempt: int, step: int) -> None:
        metric = Step(attempt, step, step / 10, 2.0 / step, 2e-4, 0.5, 100 * step, 50.0, 8.0, 10, 1, 0)
        writer = await self._service.log.writer()
        try:
            await writer.send(metric_record(id, metric, worker="gpu-box"))
        finally:
            await writer.close()

    async def _stores(self, id: str, name: str, content: bytes) -> ResultFile:
        key = f"tunings/{id}/1/{name}"
        put = await self._service.store.put_bytes(key, content)
        return ResultFile(f"file-{id[4:]}{len(name):02}"[:29], name, put.bytes, put.sha256, key)
