"""Either client, called the same way, so that each test is of both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from tunesmith import AsyncTuningClient, TuningClient


class Face:
    """A client whose waits between tries are recorded instead of slept, with jitter of exactly ×1."""

    def __init__(self, kind: str, base_url: str, **options: Any) -> None:
        self.kind = kind
        self.sleeps: list[float] = []
        made = AsyncTuningClient if kind == "async" else TuningClient
        self.client: Any = made("sk-test", base_url, **options)
        self._loop = asyncio.new_event_loop() if kind == "async" else None
        self.record(self.client)

    def record(self, client: Any) -> None:
        """Replace the client's waiting and chance."""
        client._transport.random = lambda: 0.5
        client._transport.sleep = self._async_sleep if self._loop else self.sleeps.append

    async def _async_sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)

    def call(self, do: Callable[[Any], Any]) -> Any:
        """What `do(client)` gives, awaited if need be."""
        if self._loop is None:
            return do(self.client)

        async def awaited() -> Any:
            value = do(self.client)
            return await value if inspect.isawaitable(value) else value

        return self._loop.run_until_complete(asyncio.wait_for(awaited(), 60))

    def collect(self, do: Callable[[Any], Any], into: list[Any] | None = None) -> list[Any]:
        """Everything that the iterator `do(client)` gives; in `into` also what comes before an exception."""
        items = into if into is not None else []
        if self._loop is None:
            for item in do(self.client):
                items.append(item)
            return items

        async def collected() -> None:
            async for item in do(self.client):
                items.append(item)

        self._loop.run_until_complete(asyncio.wait_for(collected(), 60))
        return items

    def close(self) -> None:
        self.call(lambda client: client.close())
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
