"""A writer that is made anew after an error: aiokafka's producer does not recover from every one."""

from __future__ import annotations

import asyncio

from app.log.port import Log, LogError, Record, RecordTooLarge, Writer


class Sender:
    """Sends single records; an error is the caller's to handle, the next record gets another writer."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._writer: Writer | None = None
        self._making = asyncio.Lock()

    async def start(self) -> None:
        """Connect ahead of the first record. Raises `Unavailable`."""
        await self._ready()

    async def send(self, record: Record) -> int:
        """Append a record; its offset, once it is safe. Raises `LogError`."""
        writer = await self._ready()
        try:
            return await writer.send(record)
        except RecordTooLarge:
            raise
        except LogError:
            if self._writer is writer:
                self._writer = None
                await writer.close()
            raise

    async def _ready(self) -> Writer:
        async with self._making:
            if self._writer is None:
                self._writer = await self._log.writer()
            return self._writer

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
            self._writer = None
