"""The worked example: a table kept in step from the log alone, killed again and again."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

import asyncpg
import pytest

from app.domain.streams import STREAMS
from app.domain.tunings import TUNINGS
from app.log.history import history_of, past
from app.log.kafka import KafkaLog
from tests.faults.load import loading
from tests.faults.oracle import answered
from tests.faults.rounds import rounds
from tests.handling import handling
from tests.servers import RemakeTopics

pytestmark = pytest.mark.timeout(180)


async def start(bootstrap: str, dsn: str) -> asyncio.subprocess.Process:
    """The example, once it has applied an event."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "examples.external_table.sync", bootstrap, dsn),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    return process


async def table(dsn: str) -> dict[str, Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row["id"]: row for row in await connection.fetch("SELECT * FROM tuning_overview")}
    finally:
        await connection.close()


async def test_the_table_is_the_fold_of_the_log_however_often_it_was_killed(
    remake_topics: RemakeTopics, database: str
) -> None:
    log = KafkaLog(await remake_topics(3))
    async with loading(log) as load, handling(log, "tunings"):
        async with load.going_on("job"):
            for _ in range(rounds(4, 30)):
                process = await start(log.bootstrap, database)
                await asyncio.sleep(random.uniform(0, 0.3))  # the moment is the test's to choose
                process.kill()
                await process.wait()
        await answered(log, load.sent)
        jobs = {one.aggregate_id for one in load.sent}
        process = await start_at_end(log, database, jobs)
        process.kill()
        await process.wait()
    rows = await table(database)
    assert rows.keys() == jobs
    for id in sorted(jobs)[:20]:
        found = await history_of(log, [STREAMS["tunings"]], id)
        assert found is not None
        then = past(TUNINGS, found[1])
        assert then is not None
        row = rows[id]
        assert (row["version"], row["status"], row["epochs"], row["updated_at"]) == (
            then.version,
            then.state.status,
            len(then.state.epochs),
            then.at,
        )


async def start_at_end(log: KafkaLog, dsn: str, jobs: set[str]) -> asyncio.subprocess.Process:
    """The example, once all of these jobs are cancelled in its table."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "examples.external_table.sync", log.bootstrap, dsn),
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        while {id for id, row in (await table(dsn)).items() if row["status"] == "cancelled"} != jobs:
            assert process.returncode is None
            await asyncio.sleep(0.1)
    return process
