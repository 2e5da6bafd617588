"""A log on which the command handler kills its own process, -9, at one point of the writer's protocol."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from typing import Any, NoReturn

from aiokafka.protocol.transaction import EndTxnRequest

from app.log.kafka import KafkaLog
from app.log.kafka_transactions import KafkaTransactionalWriter
from app.log.port import Record

POINTS = (
    "before the fence",
    "before the barrier",
    "before send",
    "after send",
    "during commit",
    "after commit",
)


def die() -> NoReturn:
    """End as by the kernel's hand: nothing is closed, flushed or said."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class CrashingLog(KafkaLog):
    """Dies at `point`; the points of a batch come after `batches` whole ones."""

    def __init__(self, bootstrap: str, point: str, batches: int) -> None:
        super().__init__(bootstrap)
        assert point in POINTS
        self._point, self._batches = point, batches

    async def transactional_writer(self, transactional_id: str) -> Any:
        if self._point == "before the fence":
            die()
        writer = await super().transactional_writer(transactional_id)
        return CrashingWriter(writer, self._point, self._batches)


class CrashingWriter:
    """The first transaction is the barrier, the others are batches."""

    def __init__(self, writer: KafkaTransactionalWriter, point: str, batches: int) -> None:
        self._writer, self._point, self._left = writer, point, batches + 1

    async def commit(self, records: Sequence[Record]) -> list[int]:
        if self._point == "before the barrier":
            die()
        self._left -= 1
        if self._left >= 0:
            return await self._writer.commit(records)
        match self._point:
            case "before send":
                die()
            case "after send":
                await self._die_after_send(records)
            case "during commit":
                self._die_during_commit()
        await self._writer.commit(records)
        die()

    async def _die_after_send(self, records: Sequence[Record]) -> None:
        await self._writer._producer.begin_transaction()
        await self._writer._append(records)
        die()

    def _die_during_commit(self) -> None:
        """The end of the transaction is on its way; whether it arrives, and is done, nobody here learns."""
        client = self._writer._producer.client
        send = client.send

        async def sent(node_id: int, request: Any, **options: Any) -> Any:
            if not isinstance(request, EndTxnRequest):
                return await send(node_id, request, **options)
            ending = asyncio.ensure_future(send(node_id, request, **options))
            await asyncio.wait([ending], timeout=random.choice((0.0, 0.0005, 0.002)))
            die()

        client.send = sent

    async def close(self) -> None:
        await self._writer.close()
