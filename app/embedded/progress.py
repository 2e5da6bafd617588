"""Slow steps that show that they move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

EVERY = 2.0


def silent(_: str) -> None:
    """Tell nobody."""


@asynccontextmanager
async def ticking(
    on_progress: Callable[[str], None], step: str, done: Callable[[], str] = lambda: ""
) -> AsyncIterator[None]:
    """Tell of `step` at once, and again every 2 s with the seconds so far and what `done` says of it."""
    on_progress(step)

    async def tick() -> None:
        began = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(EVERY)
            seconds = asyncio.get_running_loop().time() - began
            on_progress(f"{step}: {done()}{seconds:.0f} s")

    ticker = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker
