"""A reactor before an event that its version cannot read: it stops there, and a later version goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from msgspec import Struct
from msgspec.structs import replace
from structlog.testing import capture_logs

from app.domain.decider import Decider
from app.domain.files import FILES
from app.log.codec import Event
from app.log.memory import MemoryLog
from app.projections import read_model
from app.reactors.deliveries import Sending
from app.reactors.following import MADE, follow, follow_each
from app.reactors.serve import serve
from app.storage.store import Store
from tests.integration.api.service import memory_log as service_log
from tests.integration.projections.appended import UPLOADED, append, events, memory_log


class UnheardOf(Struct, frozen=True):
    """What a later version will write."""


LATER = replace(FILES, events=FILES.events | {"tunesmith.file.unheard_of.v1": UnheardOf})


@asynccontextmanager
async def reacting(log: MemoryLog, dsn: str, decider: Decider) -> AsyncIterator[list[str]]:
    """A reactor at work; the ids of the events that it was given."""
    given: list[str] = []
    stop = asyncio.Event()

    async def react(events: Sequence[Event]) -> None:
        given.extend(event.id for event in events)

    async with read_model.pool_for(dsn, "public") as pool:
        following = asyncio.create_task(follow(log, pool, "test", decider, react, stop))
        try:
            yield given
        finally:
            stop.set()
            await following


async def until_given(given: list[str], *ids: str) -> None:
    async with asyncio.timeout(20):
        while sorted(given) != sorted(ids):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("harm", ["unknown type", "no JSON"])
async def test_what_it_cannot_read_stops_its_partition_alone_until_it_can(database: str, harm: str) -> None:
    await read_model.prepare(database)
    log = memory_log(2)
    await append(log, *events(FILES, "file-a", UPLOADED, partition=0))
    [strange] = events(LATER, "file-b", (UnheardOf(),), partition=0)
    await append(log, strange if harm == "unknown type" else replace(strange, value=b"{"))
    await append(log, *events(FILES, "file-c", UPLOADED, partition=0))
    await append(log, *events(FILES, "file-d", UPLOADED, partition=1))
    with capture_logs() as logged:
        async with reacting(log, database, FILES if harm == "unknown type" else LATER) as given:
            await until_given(given, "file-a:1", "file-a:2", "file-d:1", "file-d:2")
            await append(log, *events(FILES, "file-e", UPLOADED, partition=1))
            await until_given(given, "file-a:1", "file-a:2", "file-d:1", "file-d:2", "file-e:1", "file-e:2")
    [alarm] = [one for one in logged if one["event"] == "reactor_stopped"]
    assert alarm["log_level"] == "critical"
    assert "tunesmith.files.events.v1[0]@2 is" in alarm["error"]
    if harm == "no JSON":
        return  # no version will ever read it
    async with reacting(log, database, LATER) as given:
        await until_given(given, "file-b:1", "file-c:1", "file-c:2")


async def test_one_that_takes_long_holds_up_no_other_and_is_done_again_after_a_stop(database: str) -> None:
    await read_model.prepare(database)
    log = memory_log(1)
    await append(log, *events(FILES, "file-a", UPLOADED, partition=0))
    await append(log, *events(FILES, "file-b", UPLOADED, partition=0))
    for released in (False, True):
        done: list[str] = []
        stop, release = asyncio.Event(), asyncio.Event()

        async def react(event: Event, done: list[str] = done, release: asyncio.Event = release) -> None:
            if event.id == "file-a:1":
                await release.wait()
            done.append(event.id)

        async with read_model.pool_for(database, "public") as pool:
            following = asyncio.create_task(follow_each(log, pool, "test", FILES, react, stop))
            await until_given(done, "file-a:2", "file-b:1", "file-b:2")
            assert not await pool.fetchval("SELECT count(*) FROM ops.cursors")
            if released:
                release.set()
                async with asyncio.timeout(20):
                    while await pool.fetchval("SELECT next_offset FROM ops.cursors") != 4:
                        await asyncio.sleep(0.02)
            stop.set()
            await following
        assert ("file-a:1" in done) == released


async def test_the_role_waits_without_a_word_until_its_tables_are_made(database: str, tmp_path: Path) -> None:
    stop, sending = asyncio.Event(), Sending(installation_key="k" * 32)
    with capture_logs() as logged:
        log = service_log()
        serving = asyncio.create_task(serve(log, database, Store(f"file://{tmp_path}"), stop, sending))
        await asyncio.sleep(0.6)  # some looks
        await read_model.prepare(database)
        await asyncio.sleep(0.6)
        projecting = asyncio.create_task(read_model.serve(log, database, stop))
        async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool, asyncio.timeout(30):
            while not await pool.fetchval(MADE, ["ops.cursors", "read.files"]):
                await asyncio.sleep(0.02)
            writer = await log.writer()
            for record in events(FILES, "file-a", UPLOADED, partition=0):
                await writer.send(record)
            await writer.close()
            while not await pool.fetchval("SELECT count(*) FROM ops.cursors WHERE reactor = 'check_files'"):
                await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(serving, projecting)
    assert [one for one in logged if one["log_level"] not in ("info", "debug")] == []
