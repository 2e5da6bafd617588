"""Whether the read model can be trusted to show what is on the log by now."""

from __future__ import annotations

import asyncio

import asyncpg

from app.log import topics
from app.log.port import Log, Partition, all_partitions, batches_from

SHOWN_WITHIN = 60
READ = "SELECT topic, partition, next_offset FROM read.checkpoints WHERE topic = $1"


async def caught_up(log: Log, pool: asyncpg.Pool, stream: str) -> bool:
    """Whether the read model shows, within a minute, every event of a stream that is on the log now."""
    topic = topics.events(stream)
    shown = await _shown(pool, topic)
    wanted = {partition: shown.get(partition, 0) for partition in await all_partitions(log, topic)}
    async for batch in batches_from(log, wanted.copy()):  # a transaction's marker at the end is no record
        for record in batch:
            wanted[record.partition] = record.offset + 1
    for _ in range(SHOWN_WITHIN):
        shown = await _shown(pool, topic)
        if all(shown.get(partition, 0) >= offset for partition, offset in wanted.items()):
            return True
        await asyncio.sleep(1)
    return False


async def _shown(pool: asyncpg.Pool, topic: str) -> dict[Partition, int]:
    rows = await pool.fetch(READ, topic)
    return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
