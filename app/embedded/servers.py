"""Both servers at once: they start side by side and stop one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from app.embedded import progress
from app.embedded.data_dir import DataDir
from app.embedded.errors import EmbeddedError
from app.embedded.kafka import embedded_kafka
from app.embedded.postgres import embedded_postgres


class Servers(Struct, frozen=True):
    """Where the two are: bootstrap address and DSN."""

    kafka: str
    database: str


@asynccontextmanager
async def embedded_servers(
    folder: DataDir,
    cache: Path,
    *,
    kafka_port: int = 0,
    on_progress: Callable[[str], None] = progress.silent,
    on_death: Callable[[str], None] | None = None,
) -> AsyncIterator[Servers]:
    """The broker and PostgreSQL of an opened data folder, up until the context ends. Raises `EmbeddedError`.

    `on_death` is told, in a sentence, should one of them end by itself.
    """

    def died(what: str, log: Path) -> Callable[[int], None]:
        def tell(status: int) -> None:
            if on_death is not None:
                on_death(f"{what} ended by itself with status {status} (see {log})")

        return tell

    async with AsyncExitStack() as both:
        kafka = embedded_kafka(
            folder.kafka,
            cache,
            port=kafka_port,
            on_progress=on_progress,
            on_death=died("the Kafka broker", folder.kafka / "broker.log"),
        )
        database = embedded_postgres(
            folder.postgres,
            on_progress=on_progress,
            on_death=died("PostgreSQL", folder.postgres / "server.log"),
        )
        try:
            async with asyncio.TaskGroup() as starting:
                bootstrap = starting.create_task(both.enter_async_context(kafka))
                dsn = starting.create_task(both.enter_async_context(database))
        except ExceptionGroup as failed:
            if expected := failed.subgroup(EmbeddedError):
                raise expected.exceptions[0] from None
            raise
        yield Servers(bootstrap.result(), dsn.result())
