"""Which trainer workers live, by their heartbeats."""

from __future__ import annotations

import asyncio
import time

import structlog
from msgspec.structs import replace
from prometheus_client import Counter

from app.log import topics
from app.log.port import Log, LogError, Start, all_partitions, ends_of
from app.log.workers import Control, Heartbeat, read_control, read_heartbeat

PAUSE_AFTER_ERROR = 1.0

RESTARTS = Counter(
    "tunesmith_worker_restarts", "Trainer workers seen with a new session", ["worker"], registry=None
)

logger = structlog.get_logger("api")


class Fleet:
    """The last heartbeat of each worker, and when it was heard, on this process's own clock."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._heard: dict[str, tuple[float, Heartbeat]] = {}
        self._controls: dict[str, Control] = {}

    def living(self) -> list[Heartbeat]:
        """Heartbeats of the workers heard of within a lease; whoever gets no work is as one that drains."""
        now = time.monotonic()
        return [
            replace(heartbeat, draining=True) if self._out(heartbeat) else heartbeat
            for at, heartbeat in self._heard.values()
            if now - at < self._lease
        ]

    def _out(self, heartbeat: Heartbeat) -> bool:
        control = self._controls.get(heartbeat.worker)
        return control is not None and control.keeps_out(heartbeat.session)

    async def follow(self, log: Log) -> None:
        """Listen for ever. Heartbeats from before are no sign of life; control records from before count."""
        while True:
            try:
                partitions = await all_partitions(log, topics.WORKERS)
                ends = await ends_of(log, partitions)
                reader = await log.reader(dict.fromkeys(partitions, Start.FIRST))
                try:
                    while True:
                        for record in await reader.fetch(500, 1.0):
                            if (control := read_control(record)) is not None:
                                self._controls[control.worker] = control
                            elif record.offset < ends[record.partition]:
                                continue
                            elif (heartbeat := read_heartbeat(record)) is not None:
                                before = self._heard.get(heartbeat.worker)
                                if before is not None and before[1].session != heartbeat.session:
                                    RESTARTS.labels(heartbeat.worker).inc()
                                self._heard[heartbeat.worker] = (time.monotonic(), heartbeat)
                finally:
                    await reader.close()
            except LogError as error:
                logger.warning("heartbeats_interrupted", error=str(error))
                await asyncio.sleep(PAUSE_AFTER_ERROR)
