"""Work that several requests want at the same time, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class Shared(Generic[Made]):
    """Work under way, by what it is for; it goes on when those who waited for it are gone."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Made]] = {}

    async def get(self, wanted: Hashable, work: Callable[[], Coroutine[Any, Any, Made]]) -> Made:
        """What `work` makes; it is begun unless it is under way. Raises what it raises."""
        task = self._under_way.get(wanted)
        if task is None:
            task = self._under_way[wanted] = asyncio.create_task(work())
            task.add_done_callback(partial(self._done, wanted))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, wanted: Hashable, task: asyncio.Task[Made]) -> None:
        del self._under_way[wanted]
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it
