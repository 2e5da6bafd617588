"""The projector: killed around its commit, without PostgreSQL, one of several, before an unknown event."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import OffsetAndMetadata
from msgspec import Struct, defstruct
from msgspec.structs import replace
from structlog.testing import capture_logs

from app.command_handler.serve import GROUP
from app.domain.decider import Recorded
from app.domain.tunings import TUNINGS, Started, Tuning
from app.embedded.postgres import embedded_postgres
from app.log import topics
from app.log.audit import audit
from app.log.codec import Command, event_record, read_event
from app.log.kafka import KafkaLog
from app.log.kafka_clients import administrator
from app.log.port import read_all
from app.projections import read_model
from app.projections.copies import read_model_copies
from app.projections.fold import FOLDED
from app.projections.projector import PostgresModel, project, projected_partitions
from tests.faults.conftest import Oracle, projecting
from tests.faults.load import Load, loading
from tests.faults.oracle import answered, caught_up, log_is_true, read_model_is_true, tables
from tests.faults.processes import process
from tests.faults.projector import POINTS
from tests.faults.rounds import rounds
from tests.faults.story import story
from tests.handling import handling
from tests.integration.api.proxy import proxied
from tests.servers import RemakeTopics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROJECTOR = "tests.faults.projector"


async def test_killed_before_and_after_its_commit_it_loses_nothing_and_applies_nothing_twice(
    log: KafkaLog, load: Load, true: Oracle, database: str, tmp_path: Path
) -> None:
    async with projecting(log, database):  # so that there is a model to go on with
        pass
    async with AsyncExitStack() as processes:
        prepared = []
        for number, point in enumerate(POINTS * rounds(2, 20)):
            crash = ("--crash", point, "--batches", str(random.randrange(5)))
            at = tmp_path / f"{number}.log"
            prepared.append(
                await processes.enter_async_context(
                    process(PROJECTOR, log.bootstrap, database, *crash, log=at)
                )
            )
        async with handling(log, "tunings"), load.going_on("job"):
            for one in prepared:
                await one.go()
                await one.killed_itself()
    await true()


async def test_killed_at_random_it_loses_nothing_and_applies_nothing_twice(
    log: KafkaLog, load: Load, true: Oracle, database: str, tmp_path: Path
) -> None:
    async with handling(log, "tunings"), load.going_on("job"):
        for number in range(rounds(2, 20)):
            async with process(PROJECTOR, log.bootstrap, database, log=tmp_path / f"{number}.log") as one:
                await one.go()
                await asyncio.sleep(random.uniform(0.1, 1.0))  # the moment is the test's to choose
                one.send(signal.SIGKILL)
    await true()


async def test_postgresql_restarted_under_it_is_no_more_than_a_pause(
    log: KafkaLog, load: Load, tmp_path: Path
) -> None:
    async with AsyncExitStack() as life:
        address = urlsplit(await life.enter_async_context(embedded_postgres(tmp_path / "postgres")))
        async with proxied(str(address.hostname), int(address.port or 0)) as proxy:
            dsn = address._replace(
                netloc=address.netloc.replace(f":{address.port}", f":{proxy.port}")
            ).geturl()
            async with handling(log, "tunings"), projecting(log, dsn):
                for number in range(rounds(1, 5)):
                    async with load.going_on(f"job-{number}"):
                        await answered(log, load.sent)
                        await caught_up(log, dsn)  # so that it is under way
                        await life.aclose()
                        await proxy.cut()
                        again = await life.enter_async_context(embedded_postgres(tmp_path / "postgres"))
                        proxy.there = address.hostname or "", int(urlsplit(again).port or 0)
                        await proxy.start()
                await log_is_true(log, load)
                await read_model_is_true(log, dsn)


async def test_connections_that_the_database_cuts_are_made_again(
    log: KafkaLog, load: Load, true: Oracle, database: str
) -> None:
    async with handling(log, "tunings"), projecting(log, database), load.going_on("job"):
        server = await asyncpg.connect(database)
        try:
            for _ in range(rounds(5, 50)):
                await answered(log, load.sent)
                await server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        finally:
            await server.close()
    await true()


async def test_of_two_projectors_on_one_partition_the_loser_rolls_back(
    log: KafkaLog, load: Load, true: Oracle, database: str
) -> None:
    async with projecting(log, database):
        pass
    stop = asyncio.Event()
    async with read_model.pool_for(database, "read") as pool, handling(log, "tunings"):
        several = [
            asyncio.create_task(project(log, PostgresModel(pool), partition, stop))
            for partition in await projected_partitions(log)
            if partition.topic == topics.events("tunings")
            for _ in range(3)
        ]
        for number in range(rounds(20, 200)):
            await load.send(story(f"job-{number}"))
        await answered(log, load.sent)
        await caught_up(log, database)
        stop.set()
        await asyncio.gather(*several)
    await true()


class UnheardOf(Struct, frozen=True):
    """What a later version will write."""

    note: str = ""


# An event known by name whose body only a later version can read.
LaterStarted = defstruct("Started", [("attempt", int | str)], frozen=True)


def later_evolve(tuning: Tuning | None, event: Any, recorded: Recorded) -> Tuning:
    if isinstance(event, LaterStarted) and isinstance(event.attempt, int):  # type: ignore[attr-defined]
        event = Started(event.attempt)  # type: ignore[attr-defined]
    if isinstance(event, UnheardOf | LaterStarted):
        assert tuning is not None
        return replace(tuning, suffix="unheard of")
    return TUNINGS.evolve(tuning, event, recorded)  # type: ignore[no-any-return]


LATER = replace(
    TUNINGS,
    events=TUNINGS.events
    | {"tunesmith.tuning.unheard_of.v1": UnheardOf, "tunesmith.tuning.started.v1": LaterStarted},
    evolve=later_evolve,
)


@pytest.mark.parametrize(
    ("strange", "told"),
    [
        (UnheardOf(), "tunesmith.tuning.unheard_of.v1, which this version does not know"),
        (LaterStarted("two"), "is no tunesmith.tuning.started.v1: Expected `int`, got `str`"),
    ],
    ids=["unknown", "undecodable"],
)
async def test_an_event_it_cannot_read_stops_its_partition_alone_with_an_alarm_until_a_projector_can(
    remake_topics: RemakeTopics, database: str, monkeypatch: pytest.MonkeyPatch, strange: Any, told: str
) -> None:
    log = KafkaLog(await remake_topics(3))
    async with loading(log) as load, handling(log, "tunings"):
        await load.send(one for number in range(30) for one in story(f"job-{number}"))
        await answered(log, load.sent)
        with capture_logs() as logged:
            async with projecting(log, database):
                await caught_up(log, database)
                [last] = [
                    read_event(TUNINGS, one)
                    async for one in read_all(log, topics.events("tunings"))
                    if one.header("ce_id") == "job-0:9"
                ]
                command = Command("cmd-later", "job-0", "system:test", "req", last.at, None)
                stopped = await partition_of(log, "job-0")
                record, _ = event_record(
                    LATER,
                    command=command,
                    version=10,
                    at=last.at,
                    chain=last.chain,
                    body=strange,
                    partition=stopped,
                )
                writer = await log.writer()
                await writer.send(record)
                await writer.close()
                await load.send(one for number in range(30, 60) for one in story(f"job-{number}"))
                await answered(log, load.sent)
                others = {
                    f"job-{number}"
                    for number in range(30, 60)
                    if await partition_of(log, f"job-{number}") != stopped
                }
                async with asyncio.timeout(20):
                    while await versions(database) != {f"job-{n}": 9 for n in range(30)} | dict.fromkeys(
                        others, 9
                    ):
                        await asyncio.sleep(0.05)
        [alarm] = [one for one in logged if one["event"] == "projection_stopped"]
        assert (alarm["log_level"], alarm["partition"]) == ("critical", stopped)
        assert told in alarm["error"]
        monkeypatch.setitem(FOLDED, "tunings", replace(FOLDED["tunings"], decider=LATER))
        async with projecting(log, database):
            await caught_up(log, database)
        assert await versions(database) == {f"job-{n}": 9 for n in range(1, 60)} | {"job-0": 10}
        await log_is_whole(log, database)
        before = await tables(database)
        await read_model.rebuild(log, database)
        assert await tables(database) == before
        await log_is_whole(log, database)


async def log_is_whole(log: KafkaLog, dsn: str) -> None:
    """Log and read model, as the later version sees them; the strange event is no command handler's."""
    found = await audit(log, [LATER], await read_model_copies(dsn))
    assert found.events == 60 * 9 + 1
    assert found.wrong.keys() == {"terminal", "the state topic", "reply"}
    assert all("job-0:10" in sentence for sentence in found.wrong.values())


async def versions(dsn: str) -> dict[str, int]:
    """Each tuning's version in the read model."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "read"})
    try:
        return {
            row["id"]: row["version"] for row in await connection.fetch("SELECT id, version FROM tunings")
        }
    finally:
        await connection.close()


async def partition_of(log: KafkaLog, id: str) -> int:
    """Where the log puts an aggregate."""
    known = list(range(await log.partition_count(topics.commands("tunings"))))
    return int(DefaultPartitioner()(id.encode(), known, known))


async def test_group_offsets_deleted_or_set_back_change_nothing(
    log: KafkaLog, load: Load, true: Oracle, database: str
) -> None:
    async with handling(log, "tunings"), projecting(log, database):
        await load.send([one for number in range(5) for one in story(f"job-{number}")])
        await answered(log, load.sent)
        await caught_up(log, database)
    before = await tables(database)
    commands = TopicPartition(topics.commands("tunings"), 0)
    meddler = AIOKafkaConsumer(bootstrap_servers=log.bootstrap, group_id=GROUP, enable_auto_commit=False)
    try:
        await meddler.start()
        meddler.assign([commands])
        published = await meddler.committed(commands)
        assert published == await meddler.position(commands), "lag monitors are told where the handler is"
        await meddler.commit({commands: OffsetAndMetadata(0, "")})
    finally:
        await meddler.stop()
    async with handling(log, "tunings"), projecting(log, database):
        await load.send(story("job-after-reset"))
        await answered(log, load.sent)
    async with administrator({"bootstrap_servers": log.bootstrap}, "delete a group") as admin:
        coordinator = await admin.find_coordinator(GROUP)
        deleted = await admin._send_request_to_node(coordinator, DeleteGroupsRequest([GROUP]))
        assert deleted.results == [(GROUP, 0)]
    async with handling(log, "tunings"), projecting(log, database):
        await load.send(story("job-after-deletion"))
        await answered(log, load.sent)
        await caught_up(log, database)
    after = await tables(database)
    assert set(before["tunings"]) < set(after["tunings"])
    assert len(after["tunings"]) == len(before["tunings"]) + 2
    await true()
