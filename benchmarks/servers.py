"""A broker with every declared topic, and a database, for what is measured without the whole service."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from msgspec import Struct, structs

from app import logs
from app.embedded.kafka import embedded_kafka
from app.embedded.postgres import embedded_postgres
from app.log import topic_admin
from app.log.topics import Topic, declared
from app.roles import collect_seldom
from app.settings import Settings

T = TypeVar("T")


class Broker(Struct, frozen=True):
    """The broker's address and the folder of its segments."""

    bootstrap: str
    segments: Path


@contextmanager
def running_broker(*changed: Topic) -> Iterator[Broker]:
    """A fresh broker with the topics of the embedded profile, but for the changed ones."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        yield from _between_runs(_broker(Path(folder) / "kafka", {topic.name: topic for topic in changed}))


@contextmanager
def running_database() -> Iterator[str]:
    """A fresh PostgreSQL server; its DSN."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        yield from _between_runs(embedded_postgres(Path(folder) / "postgres"))


@asynccontextmanager
async def _broker(folder: Path, changed: dict[str, Topic]) -> AsyncIterator[Broker]:
    async with embedded_kafka(folder, Settings.from_env(os.environ).cache_dir) as bootstrap:
        wanted = [changed.get(topic.name, topic) for topic in declared("embedded")]
        await topic_admin.apply(bootstrap, wanted)
        yield Broker(bootstrap, folder / "logs")


def _between_runs(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter and leave on a loop of asyncio's own: the servers are started by what uvloop cannot do."""
    with asyncio.Runner() as runner:
        entered = runner.run(_entered(context))
        try:
            yield entered
        finally:
            runner.run(_left(context))


async def _entered(context: AbstractAsyncContextManager[T]) -> T:
    return await context.__aenter__()


async def _left(context: AbstractAsyncContextManager[Any]) -> None:
    await context.__aexit__(None, None, None)


def topic(name: str, partitions: int, **config: str) -> Topic:
    """A declared topic with another count and configuration; underscores in a key are its dots."""
    [found] = [one for one in declared("embedded") if one.name == name]
    wanted = {key.replace("_", "."): value for key, value in config.items()}
    return structs.replace(found, partitions=partitions, config=found.config | wanted)


def run(measured: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on uvloop as the roles do, quietly."""
    logs.configure("error")
    collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measured())
