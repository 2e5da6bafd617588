"""Work that several want at once."""

from __future__ import annotations

import asyncio

import pytest

from app.api.shared import Shared


class Work:
    """Work that is done once it is let go on."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    async def do(self) -> int:
        self.begun += 1
        await self.go_on.wait()
        if self.begun == 3:
            raise ValueError("the third time")
        return self.begun


async def test_what_is_under_way_is_not_begun_again_and_outlives_who_waits() -> None:
    shared, work = Shared[int](), Work()
    waiting = [asyncio.create_task(shared.get("a", work.do)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    work.go_on.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1]
    assert waiting[0].cancelled()
    # What is done is nobody's business here any more.
    assert await shared.get("a", work.do) == 2


async def test_what_fails_fails_for_all_and_is_tried_again() -> None:
    shared, work = Shared[int](), Work()
    work.begun = 2
    work.go_on.set()
    told = await asyncio.gather(*(shared.get("a", work.do) for _ in range(2)), return_exceptions=True)
    assert [str(one) for one in told] == ["the third time"] * 2
    assert await shared.get("a", work.do) == 4


async def test_what_is_for_something_else_is_other_work_and_closing_ends_it_all() -> None:
    shared, work = Shared[int](), Work()
    waiting = [asyncio.create_task(shared.get(name, work.do)) for name in "ab"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.begun == 2
    await shared.close()
    for one in waiting:
        with pytest.raises(asyncio.CancelledError):
            await one
