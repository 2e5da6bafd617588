"""A broker of a test's own, that can be killed with -9 and started again on its data and port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil

from app.embedded import ports
from app.embedded.kafka import embedded_kafka
from app.log import topic_admin
from app.log.topics import declared


class Broker:
    """One broker; `bootstrap` stays the same over its lives."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder, self._cache = folder, cache
        self._port = ports.free_port()
        self._life = AsyncExitStack()
        self.bootstrap = f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        await self._life.enter_async_context(embedded_kafka(self._folder, self._cache, port=self._port))

    async def kill(self) -> None:
        """SIGKILL, as from a power cut."""
        [process] = [
            one
            for one in psutil.Process().children()
            if one.name() == "java" and any(str(self._folder) in word for word in one.cmdline())
        ]
        process.kill()
        await self.stop()

    async def stop(self) -> None:
        await self._life.aclose()


@asynccontextmanager
async def own_broker(folder: Path, cache: Path) -> AsyncIterator[Broker]:
    """A fresh broker with every topic."""
    broker = Broker(folder, cache)
    await broker.start()
    try:
        await topic_admin.apply(broker.bootstrap, declared("embedded"))
        yield broker
    finally:
        await broker.stop()
