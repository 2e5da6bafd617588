"""What can be changed of a tuning, and what is told beside it: checkpoints and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    Checkpoint,
    ReportCheckpoint,
    ReportLost,
    ReportStarted,
    ReportSucceeded,
)
from app.projections import read_model
from app.storage.logs import keep_log
from tests.integration.api.service import MODEL, Running, open_account, until, uploaded
from tests.integration.api.test_tunings import created


async def test_priority_and_metadata_change_until_the_end(
    service: Running, client: httpx.AsyncClient
) -> None:
    id = (await created(client, await uploaded(client), metadata={"team": "a"}))["id"]

    async def updated(body: Any, key: str | None = None) -> httpx.Response:
        async with service.client(key) as asking:
            return await asking.post(f"/v1/tunings.update/{id}", json=body)

    job = (await updated({"priority": 7})).json()
    assert (job["priority"], job["metadata"], job["version"]) == (7, {"team": "a"}, 2)
    job = (await updated({"metadata": {"team": "b"}})).json()
    assert (job["priority"], job["metadata"], job["version"]) == (7, {"team": "b"}, 3)
    for same in ({}, {"priority": 7}, {"priority": None, "metadata": None}):
        assert (await updated(same)).json() == job
    assert (await client.get(f"/v1/tunings.get/{id}")).json() == job
    for team, found in (("a", []), ("b", [id])):
        listed = await client.get("/v1/tunings.list", params={"metadata[team]": team})
        assert [each["id"] for each in listed.json()["data"]] == found
    events = (await client.get(f"/v1/tunings.events/{id}")).json()["data"]
    assert [(event["type"], event["message"], event["data"]) for event in events[1:]] == [
        ("updated", "priority changed", {"priority": 7}),
        ("updated", "metadata changed", {"metadata": {"team": "b"}}),
    ]
    for body, params in (
        ({"priority": 101, "metadata": {"": "x"}, "suffix": "y"}, {"priority", "metadata", "suffix"}),
        ({"metadata": {str(number): "" for number in range(17)}}, {"metadata"}),
    ):
        answer = await updated(body)
        assert answer.status_code == 400
        assert {fault["param"] for fault in answer.json()["error"]["errors"]} == params
    assert (await updated({"priority": 1}, await open_account(service))).status_code == 404
    await client.delete(f"/v1/tunings.cancel/{id}")
    answer = await updated({"priority": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_state_transition")
    assert "is cancelled and cannot be updated" in answer.json()["error"]["message"]


async def test_checkpoints_and_logs_are_told_and_a_deleted_model_stays_so(
    service: Running, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    id = (await created(client, await uploaded(client)))["id"]
    stranger = await open_account(service)
    answer = await client.get(f"/v1/tunings.logs/{id}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "attempt")
    for body in (
        AssignAttempt(Attempt(1, "w", "s", 0)),
        ReportStarted(1, "s"),
        *[ReportCheckpoint(1, "s", Checkpoint(step, 0, step, f"key/{step}", "ab", 9)) for step in (5, 10)],
        ReportLost(1, "s", "child_died"),
        AssignAttempt(Attempt(2, "w", "s", 0)),
        ReportCheckpoint(2, "s", Checkpoint(15, 1, 0, "key/15", "cd", 10)),
        ReportSucceeded(2, "s", 1.0, None, 100, ()),
    ):
        await service.send("tunings", id, body, actor="worker:w")

    async def succeeded() -> Any:
        return (await client.get(f"/v1/tunings.get/{id}")).json()["fine_tuned_model"]

    model = await until(succeeded)

    path = f"/v1/tunings.checkpoints/{id}"
    whole = (await client.get(path)).json()
    assert [(each["attempt"], each["step"], each["epoch"]) for each in whole["data"]] == [
        (2, 15, 1),
        (1, 10, 0),
        (1, 5, 0),
    ]
    assert {each["object"] for each in whole["data"]} == {"tuning.checkpoint"}
    assert "key/" not in str(whole)
    first = (await client.get(path, params={"limit": 2})).json()
    rest = (await client.get(path, params={"limit": 2, "after": first["last_id"]})).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["data"] + rest["data"] == whole["data"]
    assert (await client.get(path, params={"after": "job-x:1"})).status_code == 400

    for attempt, printed in ((1, "Traceback (most recent call last)"), (2, "done")):
        (tmp_path / "child.log").write_text(printed)
        await keep_log(service.store, id, attempt, tmp_path / "child.log")
    newest = (await client.get(f"/v1/tunings.logs/{id}")).json()
    assert newest == {
        "object": "tuning.log",
        "attempt": 2,
        "attempts": [1, 2],
        "text": "done",
        "truncated": False,
    }
    older = (await client.get(f"/v1/tunings.logs/{id}", params={"attempt": 1})).json()
    assert (older["attempt"], older["text"]) == (1, "Traceback (most recent call last)")
    assert (await client.get(f"/v1/tunings.logs/{id}", params={"attempt": 3})).status_code == 404
    assert (await client.get(f"/v1/tunings.logs/{id}", params={"attempt": 0})).status_code == 400

    async with service.client(stranger) as other:
        for answer in (
            await other.get(path),
            await other.get(f"/v1/tunings.logs/{id}"),
            await other.delete(f"/v1/models/{model}"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert (await client.delete(f"/v1/models/{MODEL}")).status_code == 400
    answer = await client.delete(f"/v1/models/{model}")
    assert (answer.status_code, answer.json()) == (200, {"id": model, "object": "model", "deleted": True})
    assert (await client.delete(f"/v1/models/{model}")).status_code == 404
    for _ in range(2):  # and once more after the read model was built again
        assert (await client.get(f"/v1/models/{model}")).status_code == 404
        assert [each["id"] for each in (await client.get("/v1/models")).json()["data"]] == [MODEL]
        await read_model.rebuild(service.log, service.dsn)
    assert await succeeded() == model
    again = {"model": model, "training_file": await uploaded(client)}
    answer = await client.post("/v1/tunings.create", json=again)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_found")
