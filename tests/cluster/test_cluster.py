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
from msgspec import Struct

from app.log import topic_admin
from app.log.kafka import KafkaLog
from app.log.kafka_clients import administrator
from app.log.port import Unavailable
from app.log.topics import declared
from tests.cluster.nodes import Nodes, nodes
from tests.faults.load import Load, loading
from tests.faults.oracle import answered, log_is_true, read_model_is_true
from tests.faults.rounds import rounds
from tests.integration.api.service import MODEL, Running, running, until, uploaded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BACK_WITHIN = 60.0
PAUSE = 0.2  # between stories of the load: what is on the log at the end is read again and again


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


async def jobs_of(service: Running) -> set[str]:
    return {row["id"] for row in await service.sql("SELECT id FROM tunings")}


class Shop(Struct, frozen=True):
    """A service on the cluster, who uses it, and the load beside that goes past the api."""

    cluster: Nodes
    log: KafkaLog
    load: Load
    client: httpx.AsyncClient
    body: dict[str, str]

    async def takes(self) -> bool:
        """Whether a tuning is created."""
        return (await self.create()).status_code == 201

    async def create(self) -> httpx.Response:
        return await self.client.post("/v1/tunings.create", json=self.body)

    async def whole_again(self) -> None:
        """Wait until all that was sent is answered, and every copy is in step."""
        await answered(self.log, self.load.sent)
        await in_step(self.cluster)


async def test_brokers_killed_and_copies_missing_lose_nothing(
    cluster: Nodes, database: str, tmp_path: Path
) -> None:
    await in_step(cluster)
    log = KafkaLog(cluster.bootstrap)
    async with (
        loading(log) as load,
        running(log, database, tmp_path / "service") as service,
        service.client() as client,
    ):
        shop = Shop(cluster, log, load, client, {"model": MODEL, "training_file": await uploaded(client)})
        for number in range(rounds(1, 10)):
            await one_is_killed(shop, f"one-{number}")
        for number in range(rounds(1, 5)):
            await two_are_killed(shop, f"two-{number}")
        await copies_needed(cluster, 3)
        for number in range(rounds(1, 5)):
            await one_copy_is_missing(shop, f"copies-{number}")
        # What the api created lies on the same log: the oracle is to know only what the load sent.
        await log_is_true(log, load, others=await jobs_of(service) - {one.aggregate_id for one in load.sent})
        await read_model_is_true(log, database)


async def one_is_killed(shop: Shop, stories: str) -> None:
    """Two of three are enough: writes go on once the others have taken its partitions over."""
    async with shop.load.going_on(stories, PAUSE):
        await answered(shop.log, shop.load.sent)
        killed = shop.cluster[random.randrange(3)]
        await killed.kill()
        await until(shop.takes, BACK_WITHIN)
        await answered(shop.log, [*shop.load.sent])
        await killed.start()
    await shop.whole_again()


async def two_are_killed(shop: Shop, stories: str) -> None:
    """Writes are refused and reads go on, until they are back."""
    async with shop.load.going_on(stories, PAUSE):
        created = await shop.create()
        assert created.status_code == 201, created.text
        first, second = random.sample(shop.cluster.nodes, 2)
        await asyncio.gather(first.kill(), second.kill())
        refused(await shop.create())
        assert (await shop.client.get(f"/v1/tunings.get/{created.json()['id']}")).status_code == 200
        await asyncio.gather(first.start(), second.start())
        await until(shop.takes, BACK_WITHIN)
    await shop.whole_again()


async def one_copy_is_missing(shop: Shop, stories: str) -> None:
    """Every partition has a leader, and takes nothing that it cannot copy as often as it must."""
    async with shop.load.going_on(stories, PAUSE):
        await until(shop.takes, BACK_WITHIN)
        killed = shop.cluster[random.randrange(3)]
        await killed.kill()
        await until(lambda: _equal(shop.cluster, {(3, 2)}), BACK_WITHIN)
        answer = await shop.create()
        await killed.start()
        refused(answer)
        await until(shop.takes, BACK_WITHIN)
    await shop.whole_again()


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
