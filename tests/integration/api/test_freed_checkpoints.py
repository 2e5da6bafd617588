"""Checkpoints in the store: as many as were asked for, and none of a job that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx

from app.domain.tunings import AssignAttempt, Attempt, Checkpoint, ReportCheckpoint, ReportStarted
from app.reactors import free_checkpoints
from app.storage.keys import MANIFEST, checkpoint_place
from tests.integration.api.service import Running, until, uploaded
from tests.integration.api.test_tunings import created

LOOK_AGAIN_NOW = """
UPDATE ops.checkpoints_to_free SET due_at = clock_timestamp() WHERE tuning_id = $1 AND looked
RETURNING tuning_id
"""


@asynccontextmanager
async def freeing(service: Running) -> AsyncIterator[None]:
    """The reactor, looking more often than usual."""
    stop = asyncio.Event()
    async with asyncpg.create_pool(service.dsn, min_size=1, max_size=2) as pool:
        serving = asyncio.create_task(
            free_checkpoints.serve(service.log, pool, service.store, stop, sweep=0.1)
        )
        try:
            yield
        finally:
            stop.set()
            await serving


async def put(service: Running, id: str, attempt: int, step: int) -> str:
    key = checkpoint_place(id, attempt, f"{step:010d}-whole")
    for name in ("weights.pt", MANIFEST):
        await service.store.put_bytes(f"{key}/{name}", b"{}")
    return key


async def save(service: Running, id: str, attempt: int, step: int) -> str:
    """What a worker does when its child has written a checkpoint."""
    key = await put(service, id, attempt, step)
    report = ReportCheckpoint(attempt, f"s{attempt}", Checkpoint(step, 0, step, key, "ab", 10))
    await service.send("tunings", id, report, actor="worker:w")
    return key


async def left(service: Running, id: str) -> set[str]:
    return {key.rpartition("/")[0] for key in await service.store.keys(f"tunings/{id}/")}


async def test_the_newest_are_kept_and_those_of_an_ended_tuning_go(
    service: Running, client: httpx.AsyncClient
) -> None:
    file = await uploaded(client)
    id = (await created(client, file, hyperparameters={"checkpoints_kept": 2}))["id"]
    result = f"tunings/{id}/1/results"
    await service.store.put_bytes(f"{result}/metrics.jsonl", b"{}")
    await service.send("tunings", id, AssignAttempt(Attempt(1, "w", "s1", 0)))
    await service.send("tunings", id, ReportStarted(1, "s1"), actor="worker:w")
    saved = [await save(service, id, 1, step) for step in (5, 10, 15)]
    coming = await put(service, id, 1, 20)  # and not told of yet

    async def kept(*keys: str) -> bool:
        return await left(service, id) == {result, *keys}

    async with freeing(service):
        await until(lambda: kept(*saved[1:], coming))
        assert (await client.delete(f"/v1/tunings.cancel/{id}")).status_code == 200
        await until(kept)
    late = await put(service, id, 1, 25)  # by a worker that had not heard of the end
    assert await kept(late)
    assert len(await service.sql(LOOK_AGAIN_NOW, id)) == 1
    async with freeing(service):

        async def done() -> bool:
            return not await service.sql("SELECT FROM ops.checkpoints_to_free WHERE tuning_id = $1", id)

        await until(done)
    assert await kept()
