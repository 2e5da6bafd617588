"""Large bodies pass through in constant memory."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from app.api import app as api
from app.log.kafka import KafkaLog
from app.settings import Settings
from app.storage.store import Store
from tests.integration.api.service import MODEL, Running, memory_log, running, uploaded
from tests.servers import RemakeTopics

MIB = 1024**2
HEAD = (
    b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
)
TAIL = b"\r\n--B--\r\n"


async def form(size: int) -> AsyncIterator[bytes]:
    yield HEAD
    chunk = os.urandom(MIB)
    for _ in range(size // MIB):
        yield chunk
    yield TAIL


async def test_an_upload_and_its_download_take_the_same_memory_at_any_size(
    kafka_service: Running, tmp_path: Path
) -> None:
    """The api in a process of its own: how far its memory rises for 8 MiB, and for 400."""
    service = kafka_service
    log = service.log
    assert isinstance(log, KafkaLog)
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from app.api.app import serve\n"
        "from app.log.kafka import KafkaLog\n"
        "from app.settings import Settings\n"
        "from app.storage.store import Store\n"
        "kafka, dsn, url = sys.argv[1:]\n"
        "told = lambda url: print(url, flush=True)\n"
        "asyncio.run(serve(Settings(port=0), KafkaLog(kafka), dsn, Store(url), asyncio.Event(), told))\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, log.bootstrap, service.dsn, service.store.url),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        measured = psutil.Process(process.pid)
        peak = 0

        async def watched() -> None:
            nonlocal peak
            while True:
                peak = max(peak, measured.memory_info().rss)
                await asyncio.sleep(0.005)

        watcher = asyncio.create_task(watched())
        peaks = []
        headers = {"authorization": f"Bearer {service.key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=100) as client:
            for size in (8 * MIB, 400 * MIB):
                peak = 0
                upload = await client.post(
                    "/v1/files",
                    content=form(size),
                    headers={"content-type": "multipart/form-data; boundary=B"},
                )
                assert (upload.status_code, upload.json()["bytes"]) == (201, size), upload.text
                read = 0
                async with client.stream("GET", f"/v1/files/{upload.json()['id']}/content") as answer:
                    async for chunk in answer.aiter_raw():
                        read += len(chunk)
                assert read == size
                peaks.append(peak)
        watcher.cancel()
        assert peaks[1] - peaks[0] < 120 * MIB, [peak // MIB for peak in peaks]
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("count", [1, 3])
async def test_a_whole_life_over_the_real_broker(
    remake_topics: RemakeTopics, database: str, tmp_path: Path, count: int
) -> None:
    bootstrap = await remake_topics(count)
    async with running(KafkaLog(bootstrap), database, tmp_path) as service, service.client() as client:
        file = await uploaded(client)
        jobs = []
        for _ in range(10):
            answer = await client.post("/v1/tunings.create", json={"model": MODEL, "training_file": file})
            assert answer.status_code == 201, answer.text
            assert (await client.get(f"/v1/tunings.get/{answer.json()['id']}")).status_code == 200
            jobs.append(answer.json()["id"])
        answers = await asyncio.gather(*(client.delete(f"/v1/tunings.cancel/{job}") for job in jobs))
        assert {answer.status_code for answer in answers} == {200}
        listed = (await client.get("/v1/tunings.list", params={"status": "cancelled"})).json()["data"]
        assert [job["id"] for job in listed] == jobs[::-1]


async def test_two_api_processes_see_each_others_tunings_at_once(
    kafka_service: Running, tmp_path: Path
) -> None:
    service = kafka_service
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    other = asyncio.create_task(
        api.serve(service.settings, service.log, service.dsn, Store(service.store.url), stop, url.set_result)
    )
    try:
        async with service.client() as first, service.client() as second:
            second.base_url = httpx.URL(await url)
            file = await uploaded(first)
            for number in range(10):
                one, two = (first, second) if number % 2 else (second, first)
                answer = await one.post("/v1/tunings.create", json={"model": MODEL, "training_file": file})
                assert answer.status_code == 201, answer.text
                assert (await two.get(f"/v1/tunings.get/{answer.json()['id']}")).json() == answer.json()
    finally:
        stop.set()
        await other


async def test_without_a_database_at_start_the_error_is_one_of_connecting(tmp_path: Path) -> None:
    store, stop = Store(f"file://{tmp_path}/objects"), asyncio.Event()
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await api.serve(Settings(port=0), memory_log(), "postgresql://u:p@127.0.0.1:1/none", store, stop)
