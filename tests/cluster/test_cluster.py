"""Three brokers, three copies, two of them in step: one dies, two die, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.log import topic_admin
from app.log.kafka import KafkaLog
from app.log.kafka_clients import administrator
from app.log.port import Unavailable
from app.log.topics import declared
from tests.cluster.nodes import Nodes, nodes
from tests.faults.load import loading
from tests.faults.oracle import answered, log_is_true, read_model_is_true
from tests.faults.rounds import rounds
from tests.integration.api.service import MODEL, Running, running, until, uploaded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BACK_WITHIN = 60.0


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, cache_dir: Path) -> AsyncIterator[Nodes]:
    """Three brokers with every topic of the cluster profile."""
    async with nodes(tmp_path / "kafka", cache_dir, 3) as found:
        assert await topic_admin.apply(found.bootstrap, declared("cluster")) == []
        yield found


async def replicas(cluster: Nodes) -> set[tuple[int, int]]:
    """Copies, and copies in step, over all partitions."""
    async with administrator({"bootstrap_servers": cluster.bootstrap}, "describe topics") as admin:
        described = await admin.describe_topics([topic.name for topic in declared("cluster")])
    return {(len(one["replicas"]), len(one["isr"])) for topic in described for one in topic["partitions"]}


async def in_step(cluster: Nodes) -> None:
    """Wait until every copy is in step."""
    await until(lambda: _equal(cluster, {(3, 3)}), BACK_WITHIN)


async def _equal(cluster: Nodes, wanted: set[tuple[int, int]]) -> bool:
    try:
        return await replicas(cluster) == wanted
    except Unavailable:  # it asked the one that is dead
        return False


async def copies_needed(cluster: Nodes, count: int) -> None:
    """Set min.insync.replicas of every topic."""
    async with administrator({"bootstrap_servers": cluster.bootstrap}, "configure topics") as admin:
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC, topic.name, topic.config | {"min.insync.replicas": str(count)}
                )
                for topic in declared("cluster")
            ]
        )


async def takes(client: httpx.AsyncClient, body: dict[str, str]) -> bool:
    return (await client.post("/v1/tunings.create", json=body)).status_code == 201


async def jobs_of(service: Running) -> set[str]:
    return {row["id"] for row in await service.sql("SELECT id FROM tunings")}


async def test_one_broker_killed_and_two_killed_lose_nothing(
    cluster: Nodes, database: str, tmp_path: Path
) -> None:
    await in_step(cluster)
    log = KafkaLog(cluster.bootstrap)
    async with (
        loading(log) as load,
        running(log, database, tmp_path / "service") as service,
        service.client() as client,
    ):
        body = {"model": MODEL, "training_file": await uploaded(client)}
        for number in range(rounds(1, 10)):
            async with load.going_on(f"one-{number}"):
                await answered(log, load.sent)
                killed = cluster[random.randrange(3)]
                await killed.kill()
                # Two of three are enough: writes go on once the others have taken its partitions over.
                await until(lambda: takes(client, body), BACK_WITHIN)
                await answered(log, [*load.sent])
                await killed.start()
            await answered(log, load.sent)
            await in_step(cluster)
        for number in range(rounds(1, 5)):
            async with load.going_on(f"two-{number}"):
                created = await client.post("/v1/tunings.create", json=body)
                assert created.status_code == 201, created.text
                first, second = random.sample(cluster.nodes, 2)
                await asyncio.gather(first.kill(), second.kill())
                refused = await client.post("/v1/tunings.create", json=body)
                assert refused.status_code == 503, refused.text
                assert int(refused.headers["retry-after"]) >= 1
                assert (await client.get(f"/v1/tunings.get/{created.json()['id']}")).status_code == 200
                await asyncio.gather(first.start(), second.start())
                await until(lambda: takes(client, body), BACK_WITHIN)
            await answered(log, load.sent)
            await in_step(cluster)
        # What the api created lies on the same log: the oracle is to know only what the load sent.
        await log_is_true(log, load, others=await jobs_of(service) - {one.aggregate_id for one in load.sent})
        await read_model_is_true(log, database)


async def test_what_cannot_be_copied_often_enough_is_refused_until_it_can(
    cluster: Nodes, database: str, tmp_path: Path
) -> None:
    await in_step(cluster)
    log = KafkaLog(cluster.bootstrap)
    async with (
        loading(log) as load,
        running(log, database, tmp_path / "service") as service,
        service.client() as client,
    ):
        body = {"model": MODEL, "training_file": await uploaded(client)}
        await copies_needed(cluster, 3)
        for number in range(rounds(1, 5)):
            async with load.going_on(f"job-{number}"):
                await until(lambda: takes(client, body), BACK_WITHIN)
                killed = cluster[random.randrange(3)]
                await killed.kill()
                # Two are in step, every partition has a leader, and takes nothing that it cannot copy twice.
                await until(lambda: _equal(cluster, {(3, 2)}), BACK_WITHIN)
                refused = await client.post("/v1/tunings.create", json=body)
                await killed.start()
                assert refused.status_code == 503, refused.text
                assert int(refused.headers["retry-after"]) >= 1
                await until(lambda: takes(client, body), BACK_WITHIN)
            await answered(log, load.sent)
            await in_step(cluster)
        await log_is_true(log, load, others=await jobs_of(service) - {one.aggregate_id for one in load.sent})
        await read_model_is_true(log, database)
