"""The read model is built anew while clients read and write: no request fails, nothing seen goes back."""

from __future__ import annotations

import asyncio
import random

import httpx

from app.log import topics
from app.log.port import read_all
from app.projections import read_model
from tests.faults.oracle import caught_up, read_model_is_true, tables
from tests.faults.rounds import rounds
from tests.integration.api.service import MODEL, Running, uploaded


async def commands_to_files(service: Running) -> int:
    """How many there are: the upload, and what the reactor that checks it says of it."""
    return len([one async for one in read_all(service.log, topics.commands("files"))])


async def test_no_request_fails_and_the_tables_are_those_of_a_rebuild_from_nothing(
    kafka_service: Running,
) -> None:
    stop = asyncio.Event()
    answers: list[tuple[int, str]] = []
    seen: dict[str, int] = {}

    async def asked(client: httpx.AsyncClient, method: str, path: str, **more: object) -> httpx.Response:
        answer = await client.request(method, path, **more)  # type: ignore[arg-type]
        answers.append((answer.status_code, f"{method} {path}: {answer.text[:300]}"))
        return answer

    async def write(client: httpx.AsyncClient, body: dict[str, str]) -> None:
        while not stop.is_set():
            job = (await asked(client, "POST", "/v1/tunings.create", json=body)).json()
            seen[job["id"]] = job["version"]
            if random.random() < 0.5:
                ended = await asked(client, "DELETE", f"/v1/tunings.cancel/{job['id']}")
                seen[job["id"]] = ended.json()["version"]

    async def read(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            id = random.choice(list(seen) or ["none"])
            if id == "none":
                await asyncio.sleep(0.01)
                continue
            version = seen[id]
            job = (await asked(client, "GET", f"/v1/tunings.get/{id}")).json()
            assert job["version"] >= version, "what a client had seen was gone again"
            events = (await asked(client, "GET", f"/v1/tunings.events/{id}")).json()
            assert len(events["data"]) >= version
            listed = (await asked(client, "GET", "/v1/tunings.list?limit=100")).json()
            assert listed["data"]

    async with kafka_service.client() as client:
        body = {"model": MODEL, "training_file": await uploaded(client)}
        asked_of_files = await commands_to_files(kafka_service)
        async with asyncio.TaskGroup() as clients:
            for _ in range(2):
                clients.create_task(write(client, body))
                clients.create_task(read(client))
            rebuilds = 0
            while rebuilds < rounds(4, 40) or len(answers) < 50:
                await read_model.rebuild(kafka_service.log, kafka_service.dsn)
                rebuilds += 1
                await asyncio.sleep(0.2)
            stop.set()
    assert [told for status, told in answers if status >= 300] == []
    await caught_up(kafka_service.log, kafka_service.dsn)
    assert await commands_to_files(kafka_service) == asked_of_files, "an event was reacted to once more"
    assert len((await tables(kafka_service.dsn))["tunings"]) == len(seen)
    await read_model_is_true(kafka_service.log, kafka_service.dsn)
