"""The broker is killed with -9 under load, and started again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from tunesmith.kafka import EventStream

from app.log import topics
from app.log.kafka import KafkaLog
from app.log.port import read_all
from tests.faults.broker import own_broker
from tests.faults.load import loading
from tests.faults.oracle import log_is_true, read_model_is_true
from tests.faults.rounds import rounds
from tests.integration.api.service import MODEL, running, until, uploaded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DOWN_SECONDS = (1.0, 30.0)


async def test_nothing_acknowledged_is_lost_and_the_api_says_503_and_recovers_by_itself(
    database: str, tmp_path: Path, cache_dir: Path
) -> None:
    async with own_broker(tmp_path / "broker", cache_dir) as broker:
        log = KafkaLog(broker.bootstrap)
        async with (
            loading(log) as load,
            running(log, database, tmp_path / "service") as service,
            service.client() as client,
        ):
            followed: list[str] = []
            following = asyncio.create_task(follow(broker.bootstrap, followed))
            body = {"model": MODEL, "training_file": await uploaded(client)}
            for number in range(rounds(1, 4)):
                async with load.going_on(f"job-{number}"):
                    created = await client.post("/v1/tunings.create", json=body)
                    assert created.status_code == 201, created.text
                    await broker.kill()
                    refused = await client.post("/v1/tunings.create", json=body)
                    assert refused.status_code == 503, refused.text
                    assert int(refused.headers["retry-after"]) >= 1
                    assert (await client.get("/v1/tunings.list")).status_code == 200
                    await asyncio.sleep(DOWN_SECONDS[number % len(DOWN_SECONDS)])
                    await broker.start()
                    await until(lambda: _takes(client, body), 60)
                assert (await client.get(f"/v1/tunings.get/{created.json()['id']}")).status_code == 200
            jobs = {row["id"] for row in await service.sql("SELECT id FROM tunings")}
            # What the api created lies on the same log: the oracle is to know only what the load sent.
            await log_is_true(log, load, others=jobs - {one.aggregate_id for one in load.sent})
            await read_model_is_true(log, database)
            written = [one.header("ce_id") async for one in read_all(log, topics.events("tunings"))]

            async def all_followed() -> bool:
                assert not following.done(), following.exception()
                return len(followed) >= len(written)

            await until(all_followed)
            following.cancel()
            assert sorted(followed) == sorted(str(one) for one in written)


async def follow(bootstrap: str, seen: list[str]) -> None:
    """Somebody who consumes the events, all the while."""
    async with EventStream(bootstrap, verify=True) as stream:
        async for event in stream:
            seen.append(event.id)  # noqa: PERF401 – it never ends


async def _takes(client: httpx.AsyncClient, body: dict[str, str]) -> bool:
    return (await client.post("/v1/tunings.create", json=body)).status_code == 201
