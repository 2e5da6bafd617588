"""Which trainer workers live, by their heartbeats."""

from __future__ import annotations

import asyncio
import time

import structlog
from prometheus_client import Counter

from app.log import topics
from app.log.port import Log, LogError, Start, all_partitions
from app.log.workers import Heartbeat, read_heartbeat

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

    def living(self) -> list[Heartbeat]:
        """Heartbeats of the workers heard of within a lease."""
        now = time.monotonic()
        return [heartbeat for at, heartbeat in self._heard.values() if now - at < self._lease]

    async def follow(self, log: Log) -> None:
        """Listen for ever. Heartbeats from before are no sign of life: begin at the end."""
        while True:
            try:
                partitions = await all_partitions(log, topics.WORKERS)
                reader = await log.reader(dict.fromkeys(partitions, Start.END))
                try:
                    while True:
                        for record in await reader.fetch(500, 1.0):
                            if (heartbeat := read_heartbeat(record)) is not None:
                                before = self._heard.get(heartbeat.worker)
                                if before is not None and before[1].session != heartbeat.session:
                                    RESTARTS.labels(heartbeat.worker).inc()
                                self._heard[heartbeat.worker] = (time.monotonic(), heartbeat)
                finally:
                    await reader.close()
            except LogError as error:
                logger.warning("heartbeats_interrupted", error=str(error))
                await asyncio.sleep(PAUSE_AFTER_ERROR)
