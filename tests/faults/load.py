"""Commands sent one after the other, as long as a test wants, each until the log has acknowledged it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.log.port import Log, LogError
from app.log.sender import Sender
from tests.faults.story import STORY, Sent, story

RETRY_SECONDS = 0.1


class Load:
    """Who sends. `sent` holds what the log acknowledged, in order; `repeated` what may lie there twice."""

    def __init__(self, log: Log) -> None:
        self._sender = Sender(log)
        self.sent: list[Sent] = []
        self.repeated: set[str] = set()

    async def send(self, commands: Iterable[Sent]) -> None:
        """Send in order. After an error the same command goes again, under the same id."""
        for one in commands:
            while True:
                try:
                    await self._sender.send(one.record())
                    break
                except LogError:
                    self.repeated.add(one.id)
                    await asyncio.sleep(RETRY_SECONDS)
            self.sent.append(one)

    @asynccontextmanager
    async def going_on(
        self, prefix: str, pause: float = 0.0, commands: Sequence[Any] = STORY
    ) -> AsyncIterator[None]:
        """Tell story after story until the context ends; the last one is told to its end."""
        stop = asyncio.Event()

        async def tell() -> None:
            number = 0
            while not stop.is_set():
                await self.send(story(f"{prefix}-{number}", commands))
                number += 1
                await asyncio.sleep(pause)

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            stop.set()
            await telling

    async def close(self) -> None:
        await self._sender.close()


@asynccontextmanager
async def loading(log: Log) -> AsyncIterator[Load]:
    """A load, closed at the end."""
    load = Load(log)
    try:
        yield load
    finally:
        await load.close()
