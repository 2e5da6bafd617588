"""Deleted files' bytes: freed, but never under a tuning that could still read them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx

from app.reactors import free_files
from app.storage.keys import found_keys
from app.storage.store import ObjectMissing
from tests.integration.api.service import ROW, Running, until, uploaded
from tests.integration.api.test_tunings import created

GRACE = 0.3


@asynccontextmanager
async def freeing(service: Running) -> AsyncIterator[None]:
    """The reactor, with less patience than usual."""
    stop = asyncio.Event()
    async with asyncpg.create_pool(service.dsn, min_size=1, max_size=2) as pool:
        serving = asyncio.create_task(free_files.serve(service.log, pool, service.store, stop, grace=GRACE))
        try:
            yield
        finally:
            stop.set()
            await serving


async def kept(service: Running, id: str) -> list[str]:
    """Which of a file's objects are there."""
    [row] = await service.sql("SELECT state ->> 'key' AS key FROM files WHERE id = $1", id)
    found = []
    for key in (row["key"], *found_keys(id)):
        try:
            await service.store.get_bytes(key)
        except ObjectMissing:
            continue
        found.append(key)
    return found


async def test_bytes_go_once_no_tuning_could_read_them(service: Running, client: httpx.AsyncClient) -> None:
    used, validating, unused = [
        await uploaded(client, ROW.replace(b"1 + 1", b"%d + 1" % number)) for number in (4, 5, 6)
    ]
    job = await created(client, used, validation_file=validating)
    async with freeing(service):
        for id in (used, validating, unused):
            assert len(await kept(service, id)) == 3
            assert (await client.delete(f"/v1/files/{id}")).status_code == 200

        async def freed(*ids: str) -> bool:
            return not any([await kept(service, id) for id in ids])

        await until(lambda: freed(unused))
        await asyncio.sleep(4 * GRACE)  # some sweeps, that have to leave them
        assert [len(await kept(service, id)) for id in (used, validating)] == [3, 3]
        assert (await client.delete(f"/v1/tunings.cancel/{job['id']}")).status_code == 200
        await until(lambda: freed(used, validating))
        assert await service.sql("SELECT id FROM ops.deleted_files") == []


async def test_a_file_deleted_while_nobody_freed_is_freed_later(
    service: Running, client: httpx.AsyncClient
) -> None:
    id = await uploaded(client)
    await client.delete(f"/v1/files/{id}")
    await asyncio.sleep(2 * GRACE)
    assert len(await kept(service, id)) == 3
    for _ in range(2):  # the second finds it done
        async with freeing(service):

            async def gone() -> bool:
                return not await kept(service, id)

            await until(gone)
