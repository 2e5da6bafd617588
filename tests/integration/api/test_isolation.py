"""Another account's id is as one that is not there, on every route that the OpenAPI document tells of."""

from __future__ import annotations

import re
from typing import Any

import httpx

from app.domain.ids import derive_id
from app.domain.tunings import AssignAttempt, Attempt, ReportStarted, ReportSucceeded
from app.storage.logs import log_key
from tests.integration.api.service import MODEL, Running, open_account, until, uploaded

Document = dict[str, Any]

# What an admin manages for every account; all else is closed to admins as to everyone.
ADMINISTERED = {"keys", "accounts", "audit"}


async def things(service: Running, client: httpx.AsyncClient) -> dict[str, str]:
    """An id of the account's own for each noun."""
    file = await uploaded(client)
    job = (await client.post("/v1/tunings.create", json={"model": MODEL, "training_file": file})).json()["id"]
    for command in (
        AssignAttempt(Attempt(1, "w", "s", 0)),
        ReportStarted(1, "s"),
        ReportSucceeded(1, "s", 1.0, None, 100, ()),
    ):
        await service.send("tunings", job, command, actor="worker:w")
    await service.store.put_bytes(log_key(job, 1), b"step 1")

    async def tuned() -> str | None:
        found: str | None = (await client.get(f"/v1/tunings.get/{job}")).json()["fine_tuned_model"]
        return found

    upload = await client.post(
        "/v1/uploads",
        json={
            "filename": "a.jsonl",
            "bytes": 10,
            "purpose": "fine-tune",
            "mime_type": "text/jsonl",
        },
    )
    webhook = await client.post("/v1/webhooks.create", json={"url": "http://127.0.0.1:9/hook"})
    return {
        "tunings": job,
        "fine_tuning": job,
        "files": file,
        "models": await until(tuned),
        "uploads": upload.json()["id"],
        "webhooks": webhook.json()["id"],
        "keys": derive_id("key", service.key),
        "accounts": service.account,
    }


def noun_of(path: str) -> str:
    return re.split(r"[./]", path.removeprefix("/v1/"))[0]


def operations(document: Document, *, with_id: bool) -> list[tuple[str, str, Document]]:
    return [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if ("{" in path) == with_id and operation["security"]
    ]


async def asked(client: httpx.AsyncClient, method: str, path: str, id: str, operation: Document) -> Any:
    """The answer for an id in the path, which is taken out of it."""
    bodies = operation.get("requestBody", {}).get("content", {})
    more: dict[str, Any] = {}
    if "multipart/form-data" in bodies:
        more["files"] = {"data": ("a", b"x"), "file": ("a", b"x")}
    elif bodies:
        more["json"] = {}
    answer = await client.request(method, re.sub(r"\{\w+\}", id, path), **more)
    return answer.status_code, answer.text.replace(id, "ID")


async def test_no_route_tells_another_accounts_thing_from_one_that_is_not_there(
    service: Running, client: httpx.AsyncClient
) -> None:
    document = (await client.get("/openapi.json")).json()
    owned = await things(service, client)
    walked = operations(document, with_id=True)
    assert {noun_of(path) for _, path, _ in walked} <= owned.keys(), "make one of it in `things`"
    # They are there for their owner, or the rest would show nothing.
    for method, path, operation in walked:
        if method == "GET":
            status, _ = await asked(client, method, path, owned[noun_of(path)], operation)
            assert status == (403 if "scope `admin`" in operation["description"] else 200), path

    async with (
        service.client(await open_account(service)) as stranger,
        service.client(await open_account(service, "read", "write", "admin")) as admin,
    ):
        for method, path, _ in operations(document, with_id=False):
            if method == "GET" and noun_of(path) not in ADMINISTERED:
                for one in (stranger, admin):
                    listed = await one.get(path)
                    assert listed.status_code == 200, path
                    assert [id for id in owned.values() if id in listed.text] == [], path
        for path in ("/v1/keys.list", "/v1/audit.list", "/v1/accounts.current"):
            listed = await stranger.get(path)
            assert [id for id in owned.values() if id in listed.text] == [], path

        for method, path, operation in walked:
            noun = noun_of(path)
            nowhere = owned[noun][:-4] + "none"
            forbidden = "scope `admin`" in operation["description"]
            for one in (stranger, admin):
                if one is admin and noun in ADMINISTERED:
                    continue
                theirs = await asked(one, method, path, owned[noun], operation)
                assert theirs == await asked(one, method, path, nowhere, operation), (method, path)
                expected = 403 if forbidden and one is stranger else 404
                assert theirs[0] == expected, (method, path, theirs)

    # And nothing of it did anything.
    for method, path, operation in walked:
        if method == "GET" and "scope `admin`" not in operation["description"]:
            assert (await asked(client, method, path, owned[noun_of(path)], operation))[0] == 200, path
