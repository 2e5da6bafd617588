"""The real broker and the real PostgreSQL, one of each for the whole test session; `conftest.py` offers them.

`kafka_bootstrap`   address of the broker; whatever earlier tests left there is still there
`topics`            the same broker with every declared topic fresh and empty, one partition each
`remake_topics`     a function that does so with another number of partitions
`topic_prefix`      a prefix that no other test uses, for topics of the test's own
`postgres_dsn`      DSN of the server, as its superuser
`database`          DSN of a database made for this test and dropped after it
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.errors import for_code
from msgspec import structs

from app.embedded.kafka import embedded_kafka
from app.embedded.postgres import embedded_postgres
from app.log import topic_admin
from app.log.kafka_clients import administrator
from app.log.topics import declared


class RemakeTopics(Protocol):
    """Make every declared topic anew with `partitions` each; the bootstrap address."""

    async def __call__(self, partitions: int = 1) -> str: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> AsyncIterator[str]:
    async with embedded_kafka(tmp_path_factory.mktemp("kafka"), cache_dir) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def remake_topics(kafka_bootstrap: str) -> RemakeTopics:
    async def remake(partitions: int = 1) -> str:
        await _forget_everything(kafka_bootstrap)
        wanted = [structs.replace(topic, partitions=partitions) for topic in declared("embedded")]
        assert await topic_admin.apply(kafka_bootstrap, wanted) == []
        return kafka_bootstrap

    return remake


@pytest_asyncio.fixture
async def topics(remake_topics: RemakeTopics) -> str:
    return await remake_topics()


@pytest.fixture
def topic_prefix() -> str:
    return f"test-{uuid4().hex[:12]}."


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_dsn() -> AsyncIterator[str]:
    # Not in pytest's own folder: started by root beside this one, another pytest closes that to the server.
    with tempfile.TemporaryDirectory(prefix="tunesmith-postgres-") as folder:
        async with embedded_postgres(Path(folder)) as dsn:
            yield dsn


@pytest_asyncio.fixture
async def database(postgres_dsn: str) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(postgres_dsn)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        yield postgres_dsn.rpartition("/")[0] + f"/{name}"
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


async def _forget_everything(bootstrap: str) -> None:
    async with administrator({"bootstrap_servers": bootstrap}, "delete topics", 30.0) as admin:
        if ours := [name for name in await admin.list_topics() if name.startswith("tunesmith.")]:
            answer = await admin.delete_topics(ours)
            for name, code in answer.topic_error_codes:
                assert code == 0, f"topic {name} could not be deleted: {for_code(code).__name__}"
            while set(ours) & set(await admin.list_topics()):  # the answer comes before the metadata has it
                await asyncio.sleep(0.01)
