"""What a repeated request and too many requests get."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from app.domain.tunings import AssignAttempt, Attempt, Failure, ReportFailed, ReportStarted
from tests.integration.api.service import (
    MODEL,
    ROW,
    Running,
    memory_log,
    open_account,
    running,
    until,
    uploaded,
)

CREATE = "/v1/tunings.create"


async def test_a_repeated_create_gives_the_same_tuning_and_makes_no_other(client: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "training_file": await uploaded(client)}
    headers = {"idempotency-key": "once"}
    answers = await asyncio.gather(*(client.post(CREATE, json=body, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["x-request-id"] for answer in answers}) == 8
    assert len((await client.get("/v1/tunings.list")).json()["data"]) == 1


async def test_a_repeat_is_answered_whatever_has_become_of_the_file(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    body, headers = {"model": MODEL, "training_file": file}, {"idempotency-key": "k"}
    first = await client.post(CREATE, json=body, headers=headers)
    await client.delete(f"/v1/files/{file}")
    again = await client.post(CREATE, json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await client.post(CREATE, json=body)).json()["error"]["code"] == "file_not_found"


async def test_the_same_key_with_another_body_is_409_and_not_to_be_retried(client: httpx.AsyncClient) -> None:
    body, headers = {"model": MODEL, "training_file": await uploaded(client)}, {"idempotency-key": "k"}
    assert (await client.post(CREATE, json=body, headers=headers)).status_code == 201
    other = await client.post(CREATE, json=body | {"suffix": "b"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert other.headers["x-should-retry"] == "false"


async def test_creates_at_once_with_one_key_and_two_bodies_make_one_tuning(client: httpx.AsyncClient) -> None:
    body, headers = {"model": MODEL, "training_file": await uploaded(client)}, {"idempotency-key": "k"}
    bodies = [body | {"suffix": suffix} for suffix in "abababab"]
    answers = await asyncio.gather(*(client.post(CREATE, json=one, headers=headers) for one in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [409] * 4
    assert len((await client.get("/v1/tunings.list")).json()["data"]) == 1


async def test_a_key_of_one_account_means_nothing_to_another(
    service: Running, client: httpx.AsyncClient
) -> None:
    headers = {"idempotency-key": "shared"}
    mine = await client.post("/v1/files", files={"file": ("a.jsonl", ROW)}, headers=headers)
    async with service.client(await open_account(service)) as stranger:
        theirs = await stranger.post("/v1/files", files={"file": ("a.jsonl", ROW)}, headers=headers)
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


async def test_a_repeated_upload_is_the_same_file_and_another_is_409(
    service: Running, client: httpx.AsyncClient
) -> None:
    headers = {"idempotency-key": "up"}
    first = await client.post("/v1/files", files={"file": ("a.jsonl", ROW)}, headers=headers)
    again = await client.post("/v1/files", files={"file": ("a.jsonl", ROW)}, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    other = await client.post("/v1/files", files={"file": ("a.jsonl", ROW * 2)}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    content = await client.get(f"/v1/files/{first.json()['id']}/content")
    assert content.content == ROW
    kept = list((service.folder / "objects" / "files").glob("*/*"))
    assert len(kept) == 1  # of the others nothing is left


async def test_an_idempotency_key_that_cannot_be_is_400(client: httpx.AsyncClient) -> None:
    for key in ("", "x" * 256):
        answer = await client.post(CREATE, json={}, headers={"idempotency-key": key})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")


async def test_the_eleventh_create_in_a_minute_is_429(database: str, tmp_path: Path) -> None:
    async with (
        running(memory_log(), database, tmp_path, creates_per_minute=10) as service,
        service.client() as client,
    ):
        body = {"model": MODEL, "training_file": await uploaded(client)}
        left = []
        for number in range(10):
            answer = await client.post(CREATE, json=body, headers={"idempotency-key": str(number)})
            assert answer.status_code == 201
            left.append(answer.headers["x-ratelimit-remaining"])
        assert left == [str(number) for number in range(9, -1, -1)]
        refused = await client.post(CREATE, json=body)
        error = refused.json()["error"]
        assert (refused.status_code, error["type"]) == (429, "rate_limit_error")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-limit"] == "10"
        # Nor is a file compared with another for whoever has sent too much.
        again = await client.post(CREATE, json=body | {"validation_file": body["training_file"]})
        assert again.status_code == 429
        # A repeat of what took already is no new create.
        repeat = await client.post(CREATE, json=body, headers={"idempotency-key": "3"})
        assert repeat.status_code == 201
        # Every answer tells where the caller stands.
        listed = await client.get("/v1/tunings.list")
        assert (listed.headers["x-ratelimit-limit"], listed.headers["x-ratelimit-remaining"]) == ("10", "0")
        # Another account has a window of its own.
        async with service.client(await open_account(service)) as other:
            taken = await other.get("/v1/tunings.list")
            assert taken.headers["x-ratelimit-remaining"] == "10"
        # A refusal to an account tells it too, and one without a limit that there is always room.
        suspended = await open_account(service, suspended=True)
        async with service.client(suspended) as other:
            refused = await other.get("/v1/tunings.list")
            assert (refused.status_code, refused.headers["x-ratelimit-remaining"]) == (403, "10")
        # The window slides: what is older than a minute counts no more.
        await service.sql("UPDATE ops.creates SET at = at - interval '61 seconds' RETURNING 1")
        assert (await client.post(CREATE, json=body)).status_code == 201


async def test_creates_at_once_cannot_pass_the_limit_together(database: str, tmp_path: Path) -> None:
    async with (
        running(memory_log(), database, tmp_path, creates_per_minute=5) as service,
        service.client() as client,
    ):
        body = {"model": MODEL, "training_file": await uploaded(client)}
        answers = await asyncio.gather(*(client.post(CREATE, json=body) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 15


async def test_a_refused_request_counts_for_nothing(database: str, tmp_path: Path) -> None:
    async with (
        running(memory_log(), database, tmp_path, creates_per_minute=1) as service,
        service.client() as client,
    ):
        body = {"model": MODEL, "training_file": await uploaded(client)}
        for _ in range(3):
            assert (await client.post(CREATE, json=body | {"model": "none"})).status_code == 400
        assert (await client.post(CREATE, json=body)).status_code == 201


async def test_a_transition_that_is_illegal_names_both_states(
    service: Running, client: httpx.AsyncClient
) -> None:
    body = {"model": MODEL, "training_file": await uploaded(client)}
    id = (await client.post(CREATE, json=body)).json()["id"]
    failure = Failure("out_of_memory", "platform", "the device has too little memory", retryable=True)
    for command in (
        AssignAttempt(Attempt(1, "w", "s", 0)),
        ReportStarted(1, "s"),
        ReportFailed(1, "s", failure),
    ):
        await service.send("tunings", id, command, actor="worker:w")

    async def failed() -> bool:
        return bool((await client.get(f"/v1/tunings.get/{id}")).json()["status"] == "failed")

    await until(failed)
    job = (await client.get(f"/v1/tunings.get/{id}")).json()
    assert job["error"] == {
        "type": "server_error",
        "code": "out_of_memory",
        "message": "the device has too little memory",
        "param": None,
        "retryable": True,
    }
    answer = await client.delete(f"/v1/tunings.cancel/{id}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_state_transition")
    assert "failed" in error["message"]
    assert "cancelled" in error["message"]
