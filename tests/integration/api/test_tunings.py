"""Tunings by the api: created, read, listed and cancelled, each account for itself."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests.integration.api.service import MODEL, ROW, Running, open_account, uploaded


async def created(client: httpx.AsyncClient, file: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/tunings.create", json={"model": MODEL, "training_file": file} | fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_who_got_201_sees_the_tuning_in_the_next_get(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    for _ in range(20):
        job = await created(client, file)
        answer = await client.get(f"/v1/tunings.get/{job['id']}")
        assert answer.status_code == 200
        assert answer.json() == job


async def test_a_created_tuning_shows_what_was_asked_for_and_every_default(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    job = await created(
        client,
        file,
        hyperparameters={"rank": 8, "learning_rate": 1e-3},
        metadata={"team": "a"},
        suffix="mails",
        seed=7,
        priority=3,
    )
    assert job["object"] == "tuning.job"
    assert (job["status"], job["phase"], job["version"]) == ("pending", "queued", 1)
    assert (job["model"], job["training_file"], job["validation_file"]) == (MODEL, file, None)
    assert (job["suffix"], job["seed"], job["priority"], job["metadata"]) == ("mails", 7, 3, {"team": "a"})
    assert (
        job["hyperparameters"] | {"rank": 8, "alpha": 16.0, "epochs": 3, "batch_size": 1}
        == job["hyperparameters"]
    )
    for empty in ("metrics", "fine_tuned_model", "error", "started_at", "finished_at", "attempt"):
        assert job[empty] is None
    assert job["result_files"] == []


async def test_every_fault_of_a_request_is_told_at_once(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/tunings.create",
        json={
            "model": "gpt-9",
            "training_file": "file-none",
            "hyperparameters": {"rank": 0, "learning_rate": -1, "colour": "red"},
            "surprise": 1,
            "priority": "high",
        },
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    faults = {fault["param"]: fault["code"] for fault in error["errors"]}
    assert faults == {
        "surprise": "unknown_field",
        "priority": "invalid_value",
        "model": "model_not_found",
        "training_file": "file_not_found",
        "hyperparameters.rank": "invalid_value",
        "hyperparameters.learning_rate": "invalid_value",
        "hyperparameters.colour": "invalid_value",
    }
    assert error["param"] == error["errors"][0]["param"]
    assert error["code"] == error["errors"][0]["code"]


async def test_a_file_whose_check_failed_cannot_be_tuned_on(client: httpx.AsyncClient) -> None:
    bad = ROW * 2 + b'{"messages": []}\n'
    upload = await client.post("/v1/files", files={"file": ("bad.jsonl", bad)})
    assert upload.json()["status"] == "error"
    answer = await client.post(
        "/v1/tunings.create", json={"model": MODEL, "training_file": upload.json()["id"]}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "file_invalid", "training_file")
    assert "line 3" in error["message"]


async def test_a_list_pages_by_keyset_newest_first_without_gap_or_repeat(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    made = [(await created(client, file))["id"] for _ in range(7)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        answer = (await client.get("/v1/tunings.list", params={"limit": "3"} | after)).json()
        seen += [job["id"] for job in answer["data"]]
        assert (answer["first_id"], answer["last_id"]) == (answer["data"][0]["id"], answer["data"][-1]["id"])
        if not answer["has_more"]:
            break
        after = {"after": answer["last_id"]}
        if len(seen) == 3:
            await created(client, file)  # what comes in between is newer, and not on a later page
    assert seen == made[::-1]


async def test_a_list_is_narrowed_by_status_and_metadata(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    first = await created(client, file, metadata={"team": "a", "run": "1"})
    second = await created(client, file, metadata={"team": "b"})
    await client.delete(f"/v1/tunings.cancel/{second['id']}")

    async def listed(**params: str) -> list[str]:
        return [job["id"] for job in (await client.get("/v1/tunings.list", params=params)).json()["data"]]

    assert await listed(status="cancelled") == [second["id"]]
    assert await listed(**{"metadata[team]": "a"}) == [first["id"]]
    assert await listed(**{"metadata[team]": "a", "metadata[run]": "2"}) == []
    for face in ("tunings.list", "fine_tuning/jobs"):
        for query in ("metadata[team]=a&metadata[team]=b", "metadata[team][x]=a"):
            answer = await client.get(f"/v1/{face}?{query}")
            assert (answer.status_code, answer.json()["error"]["param"][:14]) == (400, "metadata[team]")


PAGES = [
    ({"limit": "0"}, "limit"),
    ({"limit": "101"}, "limit"),
    ({"limit": "9" * 5000}, "limit"),
    ({"limit": "-1"}, "limit"),
    ({"limit": "ten"}, "limit"),
    ({"status": "done"}, "status"),
    ({"after": "job-none"}, "after"),
    ({"after": "\x00"}, "after"),
]


async def test_a_page_that_cannot_be_is_refused(client: httpx.AsyncClient) -> None:
    for params, param in PAGES:
        answer = await client.get("/v1/tunings.list", params=params)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), params
        if param == "status":
            told = answer.json()["error"]["message"]
            assert told.startswith("status: value 'done' is none of pending, running, ")


async def test_a_tuning_that_does_not_run_can_be_neither_paused_nor_resumed(
    client: httpx.AsyncClient,
) -> None:
    job = await created(client, await uploaded(client))
    for verb, target in (("pause", "become paused"), ("resume", "be resumed")):
        answer = await client.post(f"/v1/tunings.{verb}/{job['id']}")
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "invalid_state_transition"
        assert f"is pending and cannot {target}" in error["message"]


async def test_cancelling_is_visible_at_once_and_may_be_repeated(client: httpx.AsyncClient) -> None:
    job = await created(client, await uploaded(client))
    for _ in range(2):
        answer = await client.delete(f"/v1/tunings.cancel/{job['id']}")
        assert answer.status_code == 200
        cancelled = answer.json()
        assert (cancelled["status"], cancelled["phase"], cancelled["version"]) == ("cancelled", None, 2)
        assert cancelled["finished_at"] >= cancelled["created_at"]
    assert (await client.get(f"/v1/tunings.get/{job['id']}")).json() == cancelled


async def test_another_accounts_tuning_is_as_if_it_were_not_there(
    service: Running, client: httpx.AsyncClient
) -> None:
    file = await uploaded(client)
    job = await created(client, file)
    async with service.client(await open_account(service)) as stranger:
        for answer in (
            await stranger.get(f"/v1/tunings.get/{job['id']}"),
            await stranger.delete(f"/v1/tunings.cancel/{job['id']}"),
            await stranger.get(f"/v1/tunings.metrics/{job['id']}"),
            await stranger.get(f"/v1/tunings.adapter/{job['id']}"),
            await stranger.get(f"/v1/files/{file}"),
            await stranger.get(f"/v1/files/{file}/content"),
            await stranger.get(f"/v1/files/{file}/check"),
            await stranger.delete(f"/v1/files/{file}"),
        ):
            assert answer.status_code == 404
            assert answer.json()["error"]["type"] == "not_found_error"
        assert (await stranger.get("/v1/tunings.list")).json()["data"] == []
        assert (await stranger.get("/v1/files")).json()["data"] == []
        taken = await stranger.post("/v1/tunings.create", json={"model": MODEL, "training_file": file})
        assert (taken.status_code, taken.json()["error"]["code"]) == (400, "file_not_found")
        after = await stranger.get("/v1/tunings.list", params={"after": job["id"]})
        assert after.status_code == 400
    assert (await client.get(f"/v1/tunings.get/{job['id']}")).json()["status"] == "pending"


async def test_creates_at_the_same_time_all_take(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    jobs = await asyncio.gather(*(created(client, file) for _ in range(40)))
    assert len({job["id"] for job in jobs}) == 40
    listed = (await client.get("/v1/tunings.list", params={"limit": "100"})).json()["data"]
    assert {job["id"] for job in listed} == {job["id"] for job in jobs}
