"""A TCP proxy before the broker that knows Kafka's frames, and loses them or holds them back."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Any

import aiokafka.client
import pytest

PRODUCE = 0
FETCH = 1
METADATA = 3
JOIN_GROUP = 11
LEAVE_GROUP = 13
INIT_PRODUCER_ID = 22
END_TXN = 26
# A request of this many bytes is not the last of its transaction.
PART_OF_A_BATCH = 500_000


class Trick(Enum):
    """What is done to the next end of a transaction."""

    LOSE_ANSWER = "lose the answer"
    HOLD_REQUEST = "hold the request back"


class KafkaProxy:
    """Forwards frames, but for those of the kinds it is `deaf_to`.

    `ends` counts the ends of transactions asked for since the trick was armed, `unheard` what it was deaf to,
    `open` the connections of clients.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._armed: Trick | None = None
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._lost: set[tuple[int, int]] = set()
        self._parts: set[tuple[int, int]] = set()
        self.port = 0
        self.ends = 0
        self.deaf_to: frozenset[int] = frozenset()
        self.unheard = 0
        self.open = 0
        self.played = asyncio.Event()
        self.released = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, trick: Trick) -> None:
        """Play this trick on the next end of a transaction."""
        self._armed, self.ends = trick, 0
        self.played.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there_reader, there_writer = await asyncio.open_connection(*self._there)
        self.open += 1
        try:
            await asyncio.gather(
                self._requests(reader, there_writer, id(writer)),
                self._answers(there_reader, writer, id(writer)),
            )
        finally:
            self.open -= 1
            for one in (writer, there_writer):
                one.close()
            self._tasks.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, connection: int
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while frame := await _frame(reader):
                key, _, correlation = struct.unpack_from(">hhi", frame, 4)
                if key in self.deaf_to:
                    self.unheard += 1
                    continue
                if key == END_TXN:
                    self.ends += 1
                    if self._armed is Trick.HOLD_REQUEST:
                        self._armed = None
                        self._held.append((there, frame))
                        self.played.set()
                        continue
                    if self._armed is Trick.LOSE_ANSWER:
                        self._armed = None
                        self._lost.add((connection, correlation))
                elif key == PRODUCE and len(frame) > PART_OF_A_BATCH and _is_transactional(frame):
                    self._parts.add((connection, correlation))
                there.write(frame)
                await there.drain()
        # A connection with a held request stays open towards the broker: the request is on its way.
        while any(held is there for held, _ in self._held):
            await asyncio.sleep(0.01)
        there.close()

    async def _release(self) -> None:
        """A part of the next batch is written: now the old end arrives."""
        held, self._held = self._held, []
        for there, frame in held:
            there.write(frame)
            await there.drain()
            self.released += 1

    async def _answers(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while frame := await _frame(there):
                correlation = struct.unpack_from(">i", frame, 4)[0]
                if (connection, correlation) in self._parts:
                    await self._release()
                if (connection, correlation) in self._lost:
                    self._lost.discard((connection, correlation))
                    self.played.set()
                    continue
                writer.write(frame)
                await writer.drain()
        writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">i", size)[0])


def _is_transactional(produce: bytes) -> bool:
    """Whether a produce request (version 3 and later) names a transactional id, behind the client's id."""
    client = struct.unpack_from(">h", produce, 12)[0]
    return bool(struct.unpack_from(">h", produce, 14 + max(client, 0))[0] > 0)


def redirected(connect: Any, broker: int, to: int) -> Any:
    """aiokafka's way of connecting, with another port in place of the broker's."""

    async def connected(host: str, port: int, **options: Any) -> Any:
        return await connect(host, to if int(port) == broker else port, **options)

    return connected


@asynccontextmanager
async def proxy_before(bootstrap: str) -> AsyncIterator[KafkaProxy]:
    """A proxy before this broker, for whoever connects to its port."""
    host, _, port = bootstrap.partition(":")
    proxy = KafkaProxy(host, int(port))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


@asynccontextmanager
async def proxied(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KafkaProxy]:
    """Every connection of this process to the broker goes through the proxy."""
    async with proxy_before(bootstrap) as proxy:
        with monkeypatch.context() as patch:
            connect = aiokafka.client.create_conn
            broker = int(bootstrap.rpartition(":")[2])
            patch.setattr(aiokafka.client, "create_conn", redirected(connect, broker, proxy.port))
            yield proxy
