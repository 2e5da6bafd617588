"""The load: clients that each keep one connection and send the next request when the last is answered.

    python -m benchmarks.load < plan.json > measured.json

A process of its own, so that it takes no time from the event loops that it measures; and on bare sockets,
because a real HTTP client at 256 connections would need more of the machine than the services do.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from functools import partial
from typing import cast

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.report import percentile

ANSWER_WITHIN = 30.0


class Plan(Struct, frozen=True):
    """Whom to ask, as (host, port) in turns; the same request over and over; how long; how many at once."""

    addresses: tuple[tuple[str, int], ...]
    request: bytes
    clients: int
    seconds: float
    warm_up: float


class Measured(Struct, frozen=True):
    """What came back after the warm-up: answers a second, milliseconds to each, answers by status."""

    per_second: float
    p50: float
    p99: float
    slowest: float
    statuses: dict[int, int]


def http_request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """A whole request, ready to be sent."""
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def loaded(plan: Plan) -> Measured:
    """Run this plan in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Measured)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, plan: Plan, until: float) -> None:
        self._request, self._until = plan.request, until
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._began = 0.0
        self.answers: list[tuple[float, float, int]] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        now = time.perf_counter()
        self.answers.append((self._began, now, int(head[9:12])))
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            assert self._transport is not None
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            early = time.perf_counter() < self._until
            if early:
                self.over.set_exception(exc or ConnectionError("the service closed a connection"))
            else:
                self.over.set_result(None)


def _content_length(head: bytes) -> int:
    lower = head.lower()
    place = lower.find(b"content-length:")
    if place < 0:
        raise ValueError("an answer without content-length")
    return int(lower[place + 15 :].partition(b"\r\n")[0])


def _same(client: Client) -> Client:
    return client


async def _run(plan: Plan) -> Measured:
    loop = asyncio.get_running_loop()
    began = time.perf_counter() + plan.warm_up
    until = began + plan.seconds
    clients = [Client(plan, until) for _ in range(plan.clients)]
    for number, client in enumerate(clients):
        host, port = plan.addresses[number % len(plan.addresses)]
        await loop.create_connection(partial(_same, client), host, port)
    async with asyncio.timeout(plan.warm_up + plan.seconds + ANSWER_WITHIN):
        await asyncio.gather(*(client.over for client in clients))
    answers = [one for client in clients for one in client.answers if one[0] >= began]
    times = [(ended - began) * 1000 for began, ended, _ in answers]
    statuses: dict[int, int] = {}
    for _, _, status in answers:
        statuses[status] = statuses.get(status, 0) + 1
    lasted = max(ended for _, ended, _ in answers) - began
    return Measured(len(answers) / lasted, percentile(times, 50), percentile(times, 99), max(times), statuses)


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(_run(plan))
    sys.stdout.buffer.write(msgspec.json.encode(measured))


if __name__ == "__main__":
    main()
