"""The connection that hears of the read model's news, when it goes silent without breaking."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
import pytest

from app.api import commands
from app.api.known import Known
from tests.integration.api.proxy import proxied
from tests.integration.api.service import memory_log, until


async def test_news_of_a_connection_that_went_silent_are_not_lost_for_good(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "LISTENER_ASKED_SECONDS", 0.1)
    monkeypatch.setattr(commands, "LISTENER_ANSWERS_WITHIN", 0.1)
    parts = urlsplit(database)
    assert parts.hostname is not None
    assert parts.port is not None
    async with (
        proxied(parts.hostname, parts.port) as proxy,
        asyncpg.create_pool(database, min_size=1, max_size=1) as pool,
    ):
        dsn = database.replace(f":{parts.port}/", f":{proxy.port}/")
        listening = commands.Commands(memory_log(), dsn, pool, Known(pool))
        await listening.start()
        watch = listening.watch("job-a")

        async def notify(version: int) -> None:
            await pool.execute("SELECT pg_notify($1, $2)", commands.CHANNEL, f"job-a:{version}")

        async def heard(version: int) -> bool:
            return watch.version == version

        await notify(1)
        await until(lambda: heard(1), 5)
        proxy.silence()
        await notify(2)

        async def unsure() -> bool:
            return watch.unsure  # whoever waits looks for himself

        await until(unsure, 5)
        await notify(3)
        await until(lambda: heard(3), 5)
        await listening.close()
