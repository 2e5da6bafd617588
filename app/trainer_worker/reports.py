"""What the worker tells the log: reports that are repeated until taken, metrics that may be lost."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from app.domain.ids import derive_id
from app.domain.tunings import TUNINGS, Attempt
from app.log.codec import command_record
from app.log.metrics import Phase, Step, metric_record
from app.log.port import Log, LogError, Record, RecordTooLarge
from app.log.sender import Sender

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 5.0

logger = structlog.get_logger("trainer_worker")


class Reports:
    """One worker's way to the log."""

    def __init__(self, log: Log, worker: str) -> None:
        self._sender, self._worker = Sender(log), worker

    async def report(self, tuning_id: str, attempt: Attempt, what: str, body: Any) -> None:
        """Send a report until the log has taken it; told twice, it is one command."""
        record = command_record(
            TUNINGS,
            id=derive_id("cmd", what, tuning_id, str(attempt.number), attempt.session),
            aggregate_id=tuning_id,
            actor=f"worker:{self._worker}",
            correlation_id=derive_id("attempt", tuning_id, str(attempt.number)),
            source="trainer-worker",
            body=body,
        )
        await self.until_taken(record)

    async def metric(self, tuning_id: str, metric: Step | Phase) -> None:
        """Send a metric, once."""
        try:
            await self.send(metric_record(tuning_id, metric, worker=self._worker))
        except LogError as error:
            logger.warning("metric_dropped", job_id=tuning_id, error=str(error))

    async def until_taken(self, record: Record) -> None:
        """Send a record again and again, until the log has it."""
        backoff = FIRST_BACKOFF
        while True:
            try:
                await self.send(record)
                return
            except RecordTooLarge:
                raise
            except LogError as error:
                logger.warning("report_delayed", topic=record.topic, error=str(error))
                await asyncio.sleep(backoff)
                backoff = min(LONGEST_BACKOFF, backoff * 2)

    async def send(self, record: Record) -> None:
        """Send a record. Raises `LogError`."""
        await self._sender.send(record)

    async def close(self) -> None:
        await self._sender.close()
