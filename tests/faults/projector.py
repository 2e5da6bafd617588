"""A projector as a process that kills itself, -9, before or after one of its commits, or waits to be killed.

python -m tests.faults.projector BOOTSTRAP DSN [--crash before|after --batches N]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg

from app.log.kafka import KafkaLog
from app.logs import configure
from app.projections import projector, read_model
from tests.faults.crashes import die

POINTS = ("before", "after")


def crash_at(point: str, batches: int) -> None:
    """Die around the commit of batch number `batches`, from 0."""
    left = batches

    class Dying(projector.PostgresModel):
        async def apply(self, *arguments: Any) -> int:
            nonlocal left
            left -= 1
            if left < 0 and point == "before":
                self._pool = cast("asyncpg.Pool", DyingPool(self._pool))
            moved = await super().apply(*arguments)
            return moved if left >= 0 else die()

    vars(read_model)["PostgresModel"] = Dying


class DyingPool:
    """Its connections do everything but commit."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        async with self._pool.acquire() as connection:
            yield DyingConnection(connection)


class DyingConnection:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            yield
            die()


async def run(bootstrap: str, dsn: str) -> None:
    await read_model.serve(KafkaLog(bootstrap), dsn, asyncio.Event())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("dsn")
    parser.add_argument("--crash", choices=POINTS)
    parser.add_argument("--batches", type=int, default=0)
    given = parser.parse_args()
    configure("info")
    if given.crash:
        crash_at(given.crash, given.batches)
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(run(given.bootstrap, given.dsn))


if __name__ == "__main__":
    main()
