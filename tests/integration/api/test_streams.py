"""Events and steps as a stream: without a gap over whatever happens to either end of it."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from msgspec.structs import replace

from app.api import app as api
from app.api import streams, wire
from app.domain.accounts import IssueKey, RevokeKey, SuspendAccount
from app.domain.ids import derive_id
from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    CancelTuning,
    Checkpoint,
    ReportCheckpoint,
    ReportStarted,
)
from app.log.metrics import Step, metric_record
from app.projections import read_model
from tests.integration.api.service import Running, memory_log, open_account, running, until, uploaded
from tests.integration.api.streamed import ACCEPT, Following, following
from tests.integration.api.test_tunings import created

FIRST = Attempt(1, "w", "s", 0)
LARGE = 32 * 1024**2  # more than lies in the buffers of a connection


def step(number: int, attempt: int = 1) -> Step:
    return Step(attempt, number, 0.5, 1.25, 1e-4, 0.5, 100, 50.0, 2.0, 1000, 1, 0)


async def begun(service: Running, client: httpx.AsyncClient) -> str:
    """A tuning that runs; its id."""
    id = str((await created(client, await uploaded(client)))["id"])
    for command in (AssignAttempt(FIRST), ReportStarted(1, "s")):
        await service.send("tunings", id, command, actor="worker:w")

    async def runs() -> bool:
        return bool((await client.get(f"/v1/tunings.get/{id}")).json()["status"] == "running")

    await until(runs)
    return id


async def happen(service: Running, id: str, version: int) -> None:
    """Something happens to a tuning that is one version behind."""
    checkpoint = Checkpoint(version, 1, 0, f"checkpoints/x/{version}", "ab", 100)
    await service.send("tunings", id, ReportCheckpoint(1, "s", checkpoint), actor="worker:w")


async def unread(service: Running, path: str, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection over which an answer is on its way, and whose client takes no more than it asks for."""
    there = httpx.URL(service.url)
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    taken.setblocking(False)
    await asyncio.get_running_loop().sock_connect(taken, (there.host, there.port))
    reader, writer = await asyncio.open_connection(sock=taken, limit=16)
    writer.write(
        f"GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n"
        f"authorization: Bearer {key}\r\n\r\n".encode()
    )
    return reader, writer


async def begun_upload(service: Running, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection over which the beginning of a file was sent, and is taken."""
    there = httpx.URL(service.url)
    reader, writer = await asyncio.open_connection(there.host, there.port)
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nexpect: 100-continue\r\n"
        f"content-length: {LARGE}\r\ncontent-type: multipart/form-data; boundary=b\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(1000))
    return reader, writer


async def broken_off(writer: asyncio.StreamWriter) -> bool:
    """Whether the server, which is in this process, holds its end of a connection no more."""
    host, port = writer.get_extra_info("sockname")
    return not any(one.raddr == (host, port) for one in psutil.Process().net_connections("tcp"))


async def versions(stream: Following, count: int) -> list[int]:
    found = [await stream.frame() for _ in range(count)]
    return [frame.data["version"] for frame in found if frame is not None]


async def test_a_stream_tells_what_was_then_what_happens_and_closes_at_the_end(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.2)
    id = await begun(service, client)
    writer = await service.log.writer()
    async with following(service, id) as stream, following(service, id, behind=f"{id}:2", after="x") as late:
        assert stream.answer.status_code == 200
        assert stream.answer.headers["content-type"] == "text/event-stream"
        page = (await client.get(f"/v1/tunings.events/{id}")).json()["data"]
        for event in page:
            frame = await stream.frame()
            assert frame is not None
            assert (frame.id, frame.event, frame.data) == (event["id"], event["type"], event)
        assert await versions(late, 1) == [3]
        # A step is there within a second of its record, to everybody, and has no id.
        for number in range(1, 6):
            sent = time.monotonic()
            await writer.send(metric_record(id, step(number), worker="w"))
            for one in (stream, late):
                frame = await one.frame()
                assert frame is not None
                assert (frame.id, frame.event, frame.data["step"]) == (None, "metrics", number)
            assert time.monotonic() - sent < 1
        assert frame is not None
        metrics = (await client.get(f"/v1/tunings.metrics/{id}")).json()["data"]
        assert frame.data == metrics[-1]
        # What its evaluation gave comes after the step, which is told again, once, before the next one.
        for told in (step(5), replace(step(5), eval_loss=0.75), replace(step(5), eval_loss=0.75), step(6)):
            await writer.send(metric_record(id, told, worker="w"))
        for one in (stream, late):
            again = [await one.frame() for _ in range(2)]
            assert [each and (each.data["step"], each.data["eval_loss"]) for each in again] == [
                (5, 0.75),
                (6, None),
            ]
        # Without news a comment shows that the connection lives.
        alive = await stream.anything(5)
        assert alive is not None
        assert alive.event is None
        await happen(service, id, 4)
        await service.send("tunings", id, CancelTuning())
        assert [(frame.id, frame.event) for frame in await stream.rest()] == [
            (f"{id}:4", "checkpoint_saved"),
            (f"{id}:5", "cancelled"),
        ]
        assert [frame.data["version"] for frame in await late.rest()] == [4, 5]
    # What cannot be streamed is refused as ever, and who does not name the form gets the page.
    async with following(service, "job-none") as stream:
        assert stream.answer.status_code == 404
    async with following(service, id, key=await open_account(service)) as stream:
        assert stream.answer.status_code == 404
    for headers in ({"last-event-id": "job-x:1"}, {"last-event-id": f"{id}:two"}):
        answer = await client.get(f"/v1/tunings.events/{id}", headers=ACCEPT | headers)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Last-Event-ID")
    for accept in ("application/json", "*/*", "text/event-streams", "text/html;q=1"):
        page = await client.get(f"/v1/tunings.events/{id}", headers={"accept": accept})
        assert page.json()["object"] == "list", accept
    # Of what has ended the rest is told, and no more is waited for.
    async with following(service, id, after=f"{id}:3") as ended:
        assert [frame.data["version"] for frame in await ended.rest()] == [4, 5]
    async with following(service, id, behind=f"{id}:5") as nothing:
        assert await nothing.rest() == []
    # What cannot be read, of a later version say, ends the stream: better than one that is silent for ever.
    other = (await created(client, await uploaded(client)))["id"]
    async with following(service, other) as broken:
        assert await versions(broken, 1) == [1]
        await service.sql(
            "INSERT INTO tuning_events VALUES ($1, 2, 'later', now(), '', '{}') RETURNING 1", other
        )
        await service.sql("SELECT pg_notify('tunesmith_applied', $1)", f"{other}:2")
        assert await broken.rest(5) == []


async def test_no_event_is_missed_or_repeated_over_rebuilds_and_reconnects(
    service: Running, client: httpx.AsyncClient
) -> None:
    """More events than a page and a feed keep, read by one that stays and by one that comes and goes."""
    id = await begun(service, client)
    last, seen, stays = 200, list[int](), list[int]()

    async def comes_and_goes() -> None:
        behind: str | None = None
        while not seen or seen[-1] < last:
            async with following(service, id, behind=behind) as stream:
                for _ in range(7):
                    frame = await stream.frame()
                    assert frame is not None
                    seen.append(frame.data["version"])
                    behind = frame.id
                    if seen[-1] == last:
                        break

    async def is_there_all_along() -> None:
        async with following(service, id) as stream:
            while not stays or stays[-1] < last:
                stays.extend(await versions(stream, 1))

    async def happens() -> None:
        for number in range(4, last + 1):
            await happen(service, id, number)
            if number % 60 == 0:
                await read_model.rebuild(service.log, service.dsn)

    async with asyncio.TaskGroup() as tasks:
        for one in (comes_and_goes(), is_there_all_along(), happens()):
            tasks.create_task(one)
    assert seen == stays == list(range(1, last + 1))
    async with following(service, id) as whole:  # from the table, page by page, and from the feed
        assert await versions(whole, last) == stays


async def test_a_key_that_is_worth_nothing_any_more_ends_its_streams_downloads_and_uploads_within_a_second(
    service: Running, client: httpx.AsyncClient
) -> None:
    id = await begun(service, client)
    large = await client.post(
        "/v1/files", data={"purpose": "user_data"}, files={"file": ("large", bytes(LARGE))}
    )
    keys = {name: f"sk-{uuid4().hex}" for name in ("revoked", "expiring", "kept", "suspended")}
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    for name, key in keys.items():
        expires = soon if name == "expiring" else None
        issue = IssueKey(derive_id("key", key), hashlib.sha256(key.encode()).hexdigest(), expires_at=expires)
        await service.send("accounts", service.account, issue)

    async def ended(name: str, since: float) -> None:
        assert await opened[name].rest() == []
        assert time.monotonic() - since < 1, name

    async def known() -> bool:
        return len(await service.sql("SELECT 1 FROM api_keys WHERE account_id = $1", service.account)) == 5

    await until(known)
    content = f"/v1/files/{large.json()['id']}/content"
    downloads = {name: await unread(service, content, keys[name]) for name in ("revoked", "suspended")}
    for reader, _ in downloads.values():
        assert await reader.readexactly(12) == b"HTTP/1.1 200"
    upload, sending = await begun_upload(service, keys["revoked"])

    async def breaks_off(name: str) -> None:
        """Before all of it was sent, for its client read none of it."""
        _, writer = downloads[name]
        await until(lambda: broken_off(writer))
        writer.transport.abort()

    opened: dict[str, Following] = {}
    async with asyncio.TaskGroup() as tasks:
        leave = asyncio.Event()

        async def open_one(name: str, key: str) -> None:
            async with following(service, id, behind=f"{id}:3", key=key) as stream:
                opened[name] = stream
                await leave.wait()

        for name, key in keys.items():
            tasks.create_task(open_one(name, key))
        while len(opened) < len(keys):
            await asyncio.sleep(0.01)
        await service.send("accounts", service.account, RevokeKey(derive_id("key", keys["revoked"])))
        await ended("revoked", time.monotonic())
        await breaks_off("revoked")
        sending.write(bytes(1000))
        assert b" 401 " in await upload.readline()
        sending.close()
        assert not await broken_off(downloads["suspended"][1])
        left = (soon - datetime.now(UTC)).total_seconds()
        await ended("expiring", time.monotonic() + left)
        await happen(service, id, 4)
        for name in ("kept", "suspended"):
            assert await versions(opened[name], 1) == [4]
        await service.send("accounts", service.account, SuspendAccount())
        since = time.monotonic()
        await ended("kept", since)
        await ended("suspended", since)
        await breaks_off("suspended")
        leave.set()


async def test_a_client_that_does_not_read_is_broken_off_and_a_drain_ends_streams_at_once(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next server goes on behind the last event."""

    def listening(host: str, port: int) -> socket.socket:
        found = as_ever(host, port)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return found

    as_ever = api._listen
    monkeypatch.setattr(api, "_listen", listening)
    log = memory_log()
    held = AsyncExitStack()
    async with running(log, database, tmp_path) as service, service.client() as client:
        id, key = await begun(service, client), service.key
        to_end = await held.enter_async_context(following(service, id))
        assert await versions(to_end, 3) == [1, 2, 3]
        writer = await log.writer()
        for turn, unread_seconds in enumerate((0.5, 60.0)):
            monkeypatch.setattr(wire, "UNREAD_SECONDS", unread_seconds)
            _, stuck = await unread(service, f"/v1/tunings.events/{id}", service.key)
            for number in range(turn * 500 + 1, turn * 500 + 501):
                await writer.send(metric_record(id, step(number), worker="w"))
                if number % 50 == 0:  # a feed keeps no more than the newest few
                    while (frame := await to_end.frame()) is not None and frame.data["step"] < number:
                        pass
            if turn == 0:
                await until(lambda stuck=stuck: broken_off(stuck), 5)  # type: ignore[misc]
                stuck.transport.abort()
        began = time.monotonic()
    assert time.monotonic() - began < 3
    frame = await to_end.anything()
    assert frame is not None
    assert frame.comment is not None
    assert "connect again" in frame.comment
    assert await to_end.rest() == []
    await held.aclose()
    stuck.transport.abort()
    async with running(log, database, tmp_path) as service:
        await happen(service, id, 4)
        async with following(service, id, behind=f"{id}:3", key=key) as stream:
            assert await versions(stream, 1) == [4]
