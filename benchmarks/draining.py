"""A backlog of commands and the command handler that drains it, watched from its own transactions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from app.command_handler.partition import serve_partition
from app.domain.tunings import TUNINGS
from app.log import topics
from app.log.kafka import KafkaLog
from app.log.kafka_transactions import KafkaTransactionalWriter
from app.log.port import Record

DRAINS_WITHIN = 300.0


class WatchedLog(KafkaLog):
    """A log that tells when so many replies are committed."""

    def __init__(self, bootstrap: str, replies: int) -> None:
        super().__init__(bootstrap)
        self.began = self.ended = 0.0
        self.drained = asyncio.Event()
        self._left = replies

    async def transactional_writer(self, transactional_id: str) -> KafkaTransactionalWriter:
        writer = await super().transactional_writer(transactional_id)
        commit = writer.commit

        async def watched(records: Sequence[Record]) -> list[int]:
            offsets = await commit(records)
            answered = sum(record.topic == topics.REPLIES for record in records)
            if answered:
                self.ended = time.perf_counter()
                self._left -= answered
                if self._left <= 0:
                    self.drained.set()
            else:
                self.began = time.perf_counter()  # the barrier: from here on it recovers, then decides
            return offsets

        writer.commit = watched  # type: ignore[method-assign]
        return writer


async def drain(bootstrap: str, commands: int) -> WatchedLog:
    """Decide so many tuning commands that wait on the log; when that began and ended."""
    log, stop = WatchedLog(bootstrap, commands), asyncio.Event()
    serving = asyncio.create_task(serve_partition(log, TUNINGS, 0, stop))
    drained = asyncio.create_task(log.drained.wait())
    await asyncio.wait([serving, drained], timeout=DRAINS_WITHIN, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await serving
    if not drained.done():
        raise TimeoutError(f"{commands} commands were not decided within {DRAINS_WITHIN:g} s")
    return log
