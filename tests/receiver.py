"""A real HTTP server that receives webhooks and answers as a test tells it to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from msgspec import Struct


class Got(Struct, frozen=True):
    """A request that came."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        """What its body says."""
        return dict(msgspec.json.decode(self.body))


def answer(status: int = 200, body: bytes = b"ok", **headers: str) -> bytes:
    """A whole answer."""
    told = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    told.append(f"content-length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *told, "", ""]).encode() + body


Respond = Callable[[Got, asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """What came so far, and how the next ones are answered: `respond` writes to the connection."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.port = 0
        self.respond: Respond = self.ok
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.at("/hook")

    def at(self, path: str) -> str:
        """The same with another path."""
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def types(self) -> list[str]:
        """What it was told, in order."""
        return [got.json["type"] for got in self.got]

    async def ok(self, got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())

    def answers(self, *answers: bytes) -> None:
        """Answer the next ones so, one by one, the rest as the last."""
        left = list(answers)

        async def respond(got: Got, writer: asyncio.StreamWriter) -> None:
            writer.write(left.pop(0) if len(left) > 1 else left[0])

        self.respond = respond

    async def until(self, count: int, within: float = 20.0) -> list[Got]:
        """The requests, once so many came."""
        async with asyncio.timeout(within):
            while len(self.got) < count:
                await asyncio.sleep(0.01)
        return self.got

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            got = Got(head[0].split()[1], headers, body)
            self.got.append(got)
            await self.respond(got, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._serving.discard(asyncio.current_task())
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def end(self) -> None:
        """Hang up on whoever is still answered."""
        for task in [*self._serving]:
            task.cancel()
        await asyncio.gather(*[*self._serving], return_exceptions=True)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free loopback port, that speaks HTTPS if it is given a certificate."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver._serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.end()
