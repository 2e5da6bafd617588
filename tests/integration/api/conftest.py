"""`service`: a running service over the log in memory. `kafka_service`: the same over the real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest_asyncio

from app.log.kafka import KafkaLog
from tests.integration.api.service import Running, memory_log, running


@pytest_asyncio.fixture
async def service(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(memory_log(), database, tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def client(service: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as found:
        yield found


@pytest_asyncio.fixture
async def kafka_service(topics: str, database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(KafkaLog(topics), database, tmp_path) as found:
        yield found
