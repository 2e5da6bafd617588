"""A read model that projectors keep up, and what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from msgspec import Struct

from app.log.port import Log
from app.projections import read_model


class Model(Struct, frozen=True):
    """A database with a read model in it."""

    dsn: str

    async def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """What a query of the serving read model gives."""
        connection = await asyncpg.connect(self.dsn, server_settings={"search_path": "read"})
        try:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def value(self, query: str, *arguments: Any) -> Any:
        """The one value of a query; None without a row."""
        found = await self.rows(query, *arguments)
        return found[0][0] if found else None

    async def until(self, query: str, expected: Any, within: float = 20.0) -> None:
        """Wait until a query gives one value."""
        found = None
        try:
            async with asyncio.timeout(within):
                while (found := await self.value(query)) != expected:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{query} gave {found!r} to the end, not {expected!r}") from None

    @asynccontextmanager
    async def kept_up(self, log: Log) -> AsyncIterator[None]:
        """Projectors at work until the context ends."""
        stop = asyncio.Event()
        serving = asyncio.create_task(read_model.serve(log, self.dsn, stop))
        try:
            await _ready(self, serving)
            yield
        finally:
            stop.set()
            await serving


async def _ready(model: Model, serving: asyncio.Task[None]) -> None:
    async with asyncio.timeout(30):
        while not serving.done() and not await read_model.is_current(model.dsn):
            await asyncio.sleep(0.02)
    if serving.done():
        await serving


Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def model(database: str) -> Model:
    return Model(database)
