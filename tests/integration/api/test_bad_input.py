"""What is sent to do harm: refused, and nobody else notices. `test_errors.py` has the forms of refusals."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest

from app.api import requests, wire
from tests.integration.api.service import MODEL, ROW, Running, until, uploaded
from tests.integration.api.test_errors import CREATE, JSON, checked
from tests.integration.api.test_tunings import created

MIB = 1024**2
EVIL = ("' OR '1'='1", "'; DROP TABLE tunings; --", "$1", "../{}\\")
MANY = 100_000


def many(name: str) -> bytes:
    """A JSON object with 100,000 fields, just small enough to be read."""
    return b"{%b}" % b",".join(name.encode() % number for number in range(MANY))


async def sent(service: Running, head: str, trickle: bytes, every: float) -> tuple[bytes, float]:
    """What comes back for a head at once and then one byte after the other, and after how many seconds."""
    there = httpx.URL(service.url)
    reader, writer = await asyncio.open_connection(there.host, there.port)
    began = time.monotonic()

    async def on_and_on() -> None:
        with suppress(ConnectionError):
            writer.write(head.encode())
            for byte in trickle:
                await writer.drain()
                await asyncio.sleep(every)
                writer.write(bytes([byte]))

    writing = asyncio.create_task(on_and_on())
    try:
        async with asyncio.timeout(10):
            with suppress(ConnectionError):
                return await reader.read(), time.monotonic() - began
    finally:
        writing.cancel()
        writer.close()
    return b"", time.monotonic() - began


async def test_what_trickles_in_is_ended_and_holds_up_nobody(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(wire, "PACE_SECONDS", 0.5)
    key = f"authorization: Bearer {service.key}\r\n"
    post = f"POST {CREATE} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n"
    form = "POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=B\r\n"
    slow = {
        "head": ("GET /livez HTTP/1.1\r\nx: ", 408),
        "body": (f"{post}{key}\r\n" + '{"model": "', 408),
        "upload": (f"{form}{key}transfer-encoding: chunked\r\n\r\n", 408),
        "refused already": (f"{post}\r\n", 401),
        "nothing": ("", 0),
    }
    chunk = b"5\r\nhello\r\n"
    asked = [
        sent(service, head, chunk * 100 if name == "upload" else b"x" * (1000 if head else 0), 0.02)
        for name, (head, _) in slow.items()
    ]
    crowd = [sent(service, slow["body"][0], b"x" * 1000, 0.2) for _ in range(100)]
    everybody = asyncio.gather(*asked, *crowd)
    worst = 0.0
    while not everybody.done():
        began = time.monotonic()
        assert (await client.get("/v1/models")).status_code == 200
        worst = max(worst, time.monotonic() - began)
        await asyncio.sleep(0.02)
    found = await everybody
    for (name, (_, status)), (answer, seconds) in zip(slow.items(), found, strict=False):
        assert answer[9:12] == (str(status).encode() if status else b""), (name, answer)
        assert seconds < 3, name
    assert all(answer[9:12] == b"408" for answer, _ in found[len(slow) :])
    assert worst < 5  # whoever held the loop up would do so for longer than a busy machine does

    async def at_a_pace() -> AsyncIterator[bytes]:
        yield b'{"model": "' + b"x" * wire.LEAST_BODY_BYTES
        for _ in range(4):
            await asyncio.sleep(0.3)
            yield b"x" * wire.LEAST_BODY_BYTES
        yield b'"}'

    checked(await client.post(CREATE, content=at_a_pace(), headers=JSON), 400, "invalid_request_error")
    monkeypatch.setattr(requests, "BODY_WITHIN", 0.5)
    late = await client.post(CREATE, content=at_a_pace(), headers=JSON)
    checked(late, 408, "invalid_request_error", "request_too_slow")
    await until(lambda: service.sql("SELECT id FROM ops.audit WHERE status = 408"))


async def test_hostile_bodies_queries_and_names_are_refused_and_move_neither_memory_nor_others(
    service: Running, client: httpx.AsyncClient
) -> None:
    file = await uploaded(client)
    job = await created(client, file, metadata={"team": "a"})

    async def refused(body: bytes, status: int, **headers: str) -> dict[str, Any]:
        answer = await client.post(CREATE, content=body, headers=JSON | headers)
        assert len(answer.content) < 64 * 1024
        return checked(answer, status, "invalid_request_error")

    async def hostile() -> None:
        # A name twice, at the top or deep inside.
        for twice in (b'{"model": "a", "model": "b"}', b'{"hyperparameters": {"rank": 1, "rank": 2}}'):
            assert "twice" in (await refused(twice, 400))["message"]
        assert (await refused(b'{"metadata": %b}' % many('"%x":""'), 400))["code"]
        for fields in (many('"%x":1'), b'{"hyperparameters": %b}' % many('"%x":1')):
            assert len((await refused(fields, 400))["errors"]) <= 100
        # What is packed is not unpacked.
        bomb = gzip.compress(b" " * 30 * MIB, 1)
        assert (await refused(bomb, 415, **{"content-encoding": "gzip"}))["code"] == "unsupported_encoding"
        upload = await client.post(
            "/v1/files", files={"file": ("a.jsonl", bomb)}, headers={"content-encoding": "deflate"}
        )
        checked(upload, 415, "invalid_request_error", "unsupported_encoding")

    async def curious() -> None:
        for evil in EVIL:
            for name in ("after", "status", "limit", "metadata[team]", f"metadata[{evil}]"):
                answer = await client.get("/v1/tunings.list", params={name: evil})
                assert answer.status_code == 400 or answer.json()["data"] == [], (name, evil)
            for name in ("purpose", "after", "order"):
                answer = await client.get("/v1/files", params={name: evil})
                assert answer.status_code == 400 or answer.json()["data"] == [], (name, evil)
        for path in ("..%2f..%2fetc%2fpasswd", "..", "%2e%2e%2f%2e%2e", ".%00.", "..%5c..%5c"):
            for route in ("/v1/files/{}", "/v1/files/{}/content", "/v1/models/{}", "/docs/{}"):
                there = await client.get(httpx.URL(service.url + route.replace("{}", path)))
                assert there.status_code in (404, 405), (route, path)
        # No name that a client gives makes a header.
        evil_name = 'a"\r\nset-cookie: x=1\r\n\r\n<script>.jsonl'
        form = '--B\r\nContent-Disposition: form-data; name="file"; filename="a%0d%0aset-cookie: x=1"\r\n\r\n'
        kind = {"content-type": "multipart/form-data; boundary=B"}
        for answer in (
            await client.post("/v1/files", files={"file": (evil_name, ROW)}),
            await client.post("/v1/files", content=form.encode() + ROW + b"\r\n--B--\r\n", headers=kind),
        ):
            content = await client.get(f"/v1/files/{answer.json()['id']}/content")
            assert content.status_code == 200
            assert "set-cookie" not in content.headers
            assert content.headers["content-disposition"].startswith('attachment; filename="')
        forged = await client.get("/v1/models", headers={"x-request-id": "forged"})
        assert forged.headers["x-request-id"] != "forged"

    memory, worst = psutil.Process().memory_info().rss, 0.0
    attacks = asyncio.gather(hostile(), curious())
    while not attacks.done():
        began = time.monotonic()
        assert (await client.get("/livez")).status_code == 200
        worst = max(worst, time.monotonic() - began)
        await asyncio.sleep(0.01)
    await attacks
    assert worst < 5  # whoever held the loop up would do so for longer than a busy machine does
    assert psutil.Process().memory_info().rss - memory < 200 * MIB  # the attacker is in this process as well
    listed = (await client.get("/v1/tunings.list", params={"metadata[team]": "a"})).json()["data"]
    assert [each["id"] for each in listed] == [job["id"]]
    assert (await client.post(CREATE, json={"model": MODEL, "training_file": file})).status_code == 201
