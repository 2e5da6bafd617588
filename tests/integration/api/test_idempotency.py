"""A POST repeated under its Idempotency-Key: the same answer, once done, whoever of the apis is asked."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest

from app.api import idempotency
from app.domain.accounts import RevokeKey
from app.log import topics
from app.log.port import read_all
from tests.integration.api.service import MODEL, ROW, Running, another_api, open_account, until, uploaded

CREATE, KEYS = "/v1/tunings.create", "/v1/keys.create"
WISH = {"name": "ci", "scopes": ["read"]}


def told(answer: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    """All of an answer but what is new each time."""
    fresh = ("x-request-id", "date")
    return answer.status_code, answer.json(), {k: v for k, v in answer.headers.items() if k not in fresh}


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def commands(service: Running, stream: str) -> int:
    return len([one async for one in read_all(service.log, topics.commands(stream))])


async def test_an_accepted_answer_is_given_again_whatever_has_happened_since(
    service: Running, client: httpx.AsyncClient
) -> None:
    async with another_api(service) as elsewhere:
        body = {"model": MODEL, "training_file": await uploaded(client)}
        key = {"idempotency-key": "tuning"}
        first = await client.post(CREATE, json=body, headers=key)
        await client.delete(f"/v1/tunings.cancel/{first.json()['id']}")
        spaced = json.dumps(dict(reversed(body.items())), indent=2)
        again = await elsewhere.post(
            CREATE, content=spaced, headers=key | {"content-type": "application/json"}
        )
        assert told(again) == told(first)  # as it was then, though it is cancelled now
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        other = await client.post(CREATE, json=body | {"suffix": "b"}, headers=key)
        assert code(other) == (409, "idempotency_conflict")
        assert other.headers["x-should-retry"] == "false"

        # One key is for one request: another route is another request.
        assert code(await client.post(KEYS, json=WISH, headers=key)) == (409, "idempotency_conflict")

        # An upload, whose form differs in every byte but the file's.
        key = {"idempotency-key": "upload"}
        first = await client.post("/v1/files", files={"file": ("a.jsonl", ROW)}, headers=key)
        await client.delete(f"/v1/files/{first.json()['id']}")
        again = await elsewhere.post("/v1/files", files={"file": ("a.jsonl", ROW)}, headers=key)
        assert told(again) == told(first)
        other = await elsewhere.post("/v1/files", files={"file": ("a.jsonl", ROW * 2)}, headers=key)
        assert code(other) == (409, "idempotency_conflict")

        # A key's secret is told once, and kept nowhere.
        key = {"idempotency-key": "key"}
        first = await client.post(KEYS, json=WISH, headers=key)
        secret = first.json()["key"]
        again = await elsewhere.post(KEYS, json=WISH, headers=key)
        assert again.status_code == 201
        assert again.json() == first.json() | {"key": None}
        assert len((await client.get("/v1/keys.list")).json()["data"]) == 2
        kept = await service.sql("SELECT convert_from(body, 'utf8') AS body FROM ops.idempotency")
        assert kept
        assert not [row for row in kept if secret in row["body"]]

        # Another account's key of the same name is another key.
        async with service.client(await open_account(service)) as stranger:
            theirs = await stranger.post(KEYS, json=WISH, headers=key)
            assert theirs.json()["key"]
            assert theirs.json()["id"] != first.json()["id"]


async def test_a_refusal_is_decided_again(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "k"}
    file = await uploaded(client)
    body = {"model": MODEL, "training_file": "file-none"}
    assert (await client.post(CREATE, json=body, headers=key)).status_code == 400
    assert (await client.post(CREATE, json=body, headers=key)).status_code == 400
    # Nothing was done under the key, so it is free for a corrected request.
    made = await client.post(CREATE, json=body | {"training_file": file}, headers=key)
    assert made.status_code == 201
    id = made.json()["id"]
    for _ in range(2):
        refused = await client.post(f"/v1/tunings.pause/{id}", headers={"idempotency-key": "p"})
        assert code(refused) == (400, "invalid_state_transition")
    for bad in ("", "x" * 256):
        refused = await client.post(f"/v1/tunings.pause/{id}", headers={"idempotency-key": bad})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "Idempotency-Key")
    large = b'{"model": "' + b"x" * 1024**2 + b'"}'
    headers = key | {"content-type": "application/json"}
    assert code(await client.post(CREATE, content=large, headers=headers)) == (413, "body_too_large")


async def test_a_retry_waits_for_the_first_and_nothing_is_done_twice(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "LEASE_SECONDS", 3.0)
    key = {"idempotency-key": "k"}
    async with another_api(service) as elsewhere:
        before = await commands(service, "accounts")

        async def claimed_until() -> datetime:
            [row] = await service.sql("SELECT claimed_until FROM ops.idempotency")
            found: datetime = row["claimed_until"]
            return found

        holder = await asyncpg.connect(service.dsn)
        try:
            async with holder.transaction():  # the first is under way for as long as the read model stands
                await holder.execute("LOCK TABLE read.checkpoints IN ACCESS EXCLUSIVE MODE")
                first = asyncio.create_task(client.post(KEYS, json=WISH, headers=key))

                async def sent() -> bool:
                    return await commands(service, "accounts") == before + 1

                await until(sent)
                claimed = await claimed_until()

                async def renewed() -> bool:
                    return await claimed_until() > claimed

                await until(renewed)
                both = [client, elsewhere]
                retries = [
                    asyncio.create_task(both[n % 2].post(KEYS, json=WISH, headers=key)) for n in range(20)
                ]
                await asyncio.wait(retries, timeout=0.5)
                assert not any(retry.done() for retry in retries)
        finally:
            await holder.close()
        made = (await first).json()
        assert made["key"]
        for retry in retries:
            assert (await retry).json() == made | {"key": None}
        assert await commands(service, "accounts") == before + 1


async def test_what_a_dead_process_left_is_not_done_again(
    service: Running, client: httpx.AsyncClient
) -> None:
    key = {"idempotency-key": "k"}
    made = (await client.post(KEYS, json=WISH, headers=key)).json()
    # As if the api had died between the command and the answer: the claim is there, and lapsed.
    await service.sql("UPDATE ops.idempotency SET status = NULL, claimed_until = now() RETURNING 1")
    again = await client.post(KEYS, json=WISH, headers=key)
    assert (again.status_code, again.json()) == (201, made | {"key": None})
    # A command that is known by its id is not decided anew, whatever it would do by now.
    rotate = f"/v1/keys.rotate/{made['id']}"
    rotated = (await client.post(rotate, headers={"idempotency-key": "r"})).json()
    await service.sql("UPDATE ops.idempotency SET status = NULL, claimed_until = now() RETURNING 1")
    await service.send("accounts", service.account, RevokeKey(rotated["id"]))
    again = await client.post(rotate, headers={"idempotency-key": "r"})
    assert (again.status_code, again.json()["id"], again.json()["key"]) == (201, rotated["id"], None)
    assert len((await client.get("/v1/keys.list")).json()["data"]) == 3
    # After a day a key may be used for something else.
    await service.sql("UPDATE ops.idempotency SET expires_at = now() RETURNING 1")
    other = await client.post(KEYS, json=WISH | {"name": "other"}, headers=key)
    assert (other.status_code, other.json()["name"]) == (201, "other")
