"""What the api stands on goes away, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from tunesmith import AsyncTuningClient

from app.api import app as api
from app.embedded import ports
from app.embedded.kafka import embedded_kafka
from app.log import topic_admin
from app.log.kafka import KafkaLog
from app.log.topics import declared
from app.settings import Settings
from app.storage.store import Store
from tests.integration.api.proxy import proxied
from tests.integration.api.service import MODEL, ROW, Running, memory_log, running, until, uploaded

CREATE = "/v1/tunings.create"


def unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["type"] == "server_error"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"]


def refused_once(caplog: pytest.LogCaptureFixture) -> Callable[[], Awaitable[bool]]:
    """A condition: the SDK has met the outage, and means to try again."""
    caplog.set_level("INFO", "tunesmith")

    async def is_so() -> bool:
        return any(message.startswith("retry 1/") for message in caplog.messages)

    return is_so


async def test_without_postgresql_the_answer_is_503_and_all_is_well_once_it_is_back(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = urlsplit(database)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxied(parts.hostname, parts.port) as proxy:
        dsn = database.replace(f":{parts.port}/", f":{proxy.port}/")
        async with running(memory_log(), dsn, tmp_path) as service, service.client() as client:
            body = {"model": MODEL, "training_file": await uploaded(client)}
            await proxy.cut()
            unknown = {"model": MODEL, "training_file": "file-unknown"}
            for method, path in (("GET", "/v1/tunings.list"), ("POST", CREATE), ("GET", "/metrics")):
                unavailable(await client.request(method, path, json=unknown))
            health = await client.get("/health")
            assert health.status_code == 503
            assert health.json()["database"].startswith("error: ")
            assert health.json()["kafka"] == "ok"
            assert (await client.get("/livez")).status_code == 200
            async with AsyncTuningClient(service.key, base_url=service.url) as sdk:
                refused = refused_once(caplog)
                made = asyncio.create_task(sdk.tunings.create(MODEL, body["training_file"]))
                await until(refused)
                await proxy.start()
                job = await made  # the user has noticed nothing

            async def back() -> bool:
                return [one["id"] for one in (await client.get("/v1/tunings.list")).json()["data"]] == [
                    job.id
                ]

            await until(back)
            for _ in range(3):  # the listener too is back: what was made is to be seen at once
                answer = await client.post(CREATE, json=body)
                assert answer.status_code in (201, 202), answer.text

            async def seen_at_once() -> bool:
                return (await client.post(CREATE, json=body)).status_code == 201

            await until(seen_at_once)


async def test_a_database_that_hangs_is_told_as_soon_as_one_that_is_away(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.database.ANSWERS_WITHIN", 1.0)
    monkeypatch.setattr("app.api.routes.operations.CHECKED_WITHIN", 1.0)
    parts = urlsplit(database)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxied(parts.hostname, parts.port) as proxy:
        dsn = database.replace(f":{parts.port}/", f":{proxy.port}/")
        async with running(memory_log(), dsn, tmp_path) as service, service.client() as client:
            file = await uploaded(client)
            proxy.freeze()
            began = asyncio.get_running_loop().time()
            body = {"model": MODEL, "training_file": file}
            health, *answers = await asyncio.gather(
                client.get("/health"),
                client.post(CREATE, json=body, headers={"idempotency-key": "k"}),
                client.get("/metrics"),
                *(client.get("/v1/tunings.list") for _ in range(15)),  # more than there are connections
            )
            took = asyncio.get_running_loop().time() - began
            assert (health.status_code, health.json()["kafka"]) == (503, "ok")
            assert health.json()["database"] == "error: no answer within 1 s"
            for answer in answers:
                unavailable(answer)
            assert took < 8, took  # a second or two; asyncpg itself would wait for ten and more
            assert (await client.get("/livez")).status_code == 200
            proxy.thaw()

            async def back() -> bool:
                answer = await client.post(CREATE, json=body, headers={"idempotency-key": "k"})
                return answer.status_code in (201, 202)

            await until(back)
            listed = (await client.get("/v1/tunings.list")).json()["data"]
            assert len(listed) <= 1  # a create that was 202 may not be seen yet


async def test_a_read_model_that_lags_gives_202_with_the_whole_object(
    service: Running, client: httpx.AsyncClient
) -> None:
    body = {"model": MODEL, "training_file": await uploaded(client)}
    holder = await asyncpg.connect(service.dsn)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE read.checkpoints IN ACCESS EXCLUSIVE MODE")
            answer = await client.post(CREATE, json=body)
            assert answer.status_code == 202, answer.text
            job = answer.json()
            assert (job["status"], job["model"], job["version"]) == ("pending", MODEL, 1)
            assert answer.headers["location"] == f"/v1/tunings.get/{job['id']}"
            assert (await client.get(answer.headers["location"])).status_code == 404
    finally:
        await holder.close()

    async def there() -> bool:
        return (await client.get(f"/v1/tunings.get/{job['id']}")).status_code == 200

    await until(there)
    assert (await client.get(f"/v1/tunings.get/{job['id']}")).json() == job


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_without_kafka_commands_are_503_reads_go_on_and_all_is_well_once_it_is_back(
    database: str, tmp_path: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = ports.free_port()
    broker, clients = contextlib.AsyncExitStack(), contextlib.AsyncExitStack()
    bootstrap = await broker.enter_async_context(embedded_kafka(tmp_path / "kafka", cache_dir, port=port))
    try:
        await topic_admin.apply(bootstrap, declared("embedded"))
        async with running(KafkaLog(bootstrap), database, tmp_path) as service, service.client() as client:
            body = {"model": MODEL, "training_file": await uploaded(client)}
            assert (await client.post(CREATE, json=body)).status_code == 201
            await broker.aclose()
            refused = refused_once(caplog)
            patient = AsyncTuningClient(service.key, base_url=service.url, max_retries=12)
            user = await clients.enter_async_context(patient)
            made = asyncio.create_task(user.tunings.create(MODEL, body["training_file"], suffix="carried"))
            with_key, without, health = await asyncio.gather(
                client.post(CREATE, json=body, headers={"idempotency-key": "k"}),
                client.post(CREATE, json=body),
                client.get("/health"),
            )
            unavailable(with_key)
            assert "x-should-retry" not in with_key.headers
            unavailable(without)
            assert without.headers["x-should-retry"] == "false"
            assert health.status_code == 503
            assert health.json()["kafka"].startswith("error: ")
            assert (await client.get("/v1/tunings.list")).status_code == 200
            await until(refused)
            await broker.enter_async_context(embedded_kafka(tmp_path / "kafka", cache_dir, port=port))

            async def takes() -> str | None:
                answer = await client.post(CREATE, json=body, headers={"idempotency-key": "k"})
                return str(answer.json()["id"]) if answer.status_code == 201 else None

            first = await until(takes, 60)
            again = await client.post(CREATE, json=body, headers={"idempotency-key": "k"})
            assert again.json()["id"] == first
            async with asyncio.timeout(90):
                job = await made

            async def there() -> list[str]:
                found = (await client.get("/v1/tunings.list")).json()["data"]
                return [one["id"] for one in found if one["suffix"] == "carried"]

            assert await until(there) == [job.id]
    finally:
        await clients.aclose()
        await broker.aclose()


async def test_without_the_store_an_upload_is_503_and_health_says_so(
    service: Running, client: httpx.AsyncClient
) -> None:
    objects = service.folder / "objects"
    objects.rename(service.folder / "away")
    objects.write_text("no folder")
    unavailable(await client.post("/v1/files", files={"file": ("a.jsonl", ROW)}))
    assert (await client.get("/health")).json()["storage"].startswith("error: ")
    objects.unlink()
    (service.folder / "away").rename(objects)
    assert await uploaded(client)


async def test_a_port_in_use_is_told_in_a_sentence(database: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        store = Store(f"file://{tmp_path}/objects")
        with pytest.raises(api.PortInUse, match=f"port {port} .* --port"):
            await api.serve(Settings(port=port), memory_log(), database, store, asyncio.Event())


async def test_a_stop_lets_what_is_in_flight_finish(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.stored_files.CHECKED_WITHIN", 1.0)
    async with contextlib.AsyncExitStack() as clients:
        async with running(memory_log(), database, tmp_path, reactor=False) as service:
            client = await clients.enter_async_context(service.client())
            upload = asyncio.create_task(client.post("/v1/files", files={"file": ("a.jsonl", ROW)}))

            async def under_way() -> bool:
                return bool(await service.sql("SELECT 1 FROM files"))

            await until(under_way)
            assert not upload.done()
        assert (await upload).status_code == 201
        with pytest.raises(httpx.ConnectError):
            await client.get("/livez")
