"""A reader beside the faults, who must never see a part of a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.log import topics
from app.log.port import Log, Start, all_partitions
from tests.faults.story import TOGETHER

LAST_LOOK_WITHIN = 30.0  # a transaction left open holds readers up until it times out, after 10 s


@asynccontextmanager
async def whole_transactions_only(log: Log, stream: str = "tunings") -> AsyncIterator[asyncio.Event]:
    """Read the events as they come; at every end of the log, what belongs together is there together.

    The event given is set once there was something to see.
    """
    partitions = await all_partitions(log, topics.events(stream))
    reader = await log.reader(dict.fromkeys(partitions, Start.FIRST))
    first, second = TOGETHER
    ended = asyncio.Event()
    seen = asyncio.Event()

    async def read() -> None:
        open_pairs: set[str] = set()
        last = False
        while not last:
            last = ended.is_set()  # whoever was told to end looks once more, so that nothing goes unseen
            ends = {one: await reader.end(one) for one in partitions}
            while any([await reader.position(one) < end for one, end in ends.items()]):
                for record in await reader.fetch(5_000, 0.1):
                    kind = (record.header("ce_type") or "").split(".")[2]
                    if kind == first:
                        open_pairs.add(record.header("ce_causationid") or "")
                    elif kind == second:
                        open_pairs.discard(record.header("ce_causationid") or "")
                    seen.set()
            # What was read beyond `ends` may be cut by the size of a fetch; only up to them is it certain.
            if all([await reader.position(one) == end for one, end in ends.items()]):
                assert open_pairs == set(), f"only {first} of {open_pairs} is to be seen"
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(read())
    try:
        yield seen
        ended.set()
        async with asyncio.timeout(LAST_LOOK_WITHIN):
            await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await reader.close()
    assert seen.is_set()
