"""Accounts as an admin manages them, and what their limits and a suspension do to those who use them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api import commands
from tests.integration.api.service import (
    MODEL,
    ROW,
    Running,
    another_api,
    memory_log,
    open_account,
    running,
    until,
    uploaded,
)

CREATE = "/v1/tunings.create"


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def limited(admin: httpx.AsyncClient, account: str, **limits: int | None) -> dict[str, Any]:
    """Set limits, and wait until every api has forgotten the old ones."""
    answer = await admin.post(f"/v1/accounts.update/{account}", json={"limits": limits})
    assert answer.status_code == 200, answer.text
    await asyncio.sleep(0.6)
    return dict(answer.json())


async def test_an_account_is_opened_given_a_key_renamed_limited_and_suspended(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service.client(await open_account(service, "admin")) as admin:
        made = await admin.post(
            "/v1/accounts.create", json={"name": "team", "limits": {"running_tunings": 2, "stored_bytes": 0}}
        )
        assert made.status_code == 201, made.text
        account = made.json()
        id = account["id"]
        assert made.headers["location"] == f"/v1/accounts.get/{id}"
        assert account["limits"] == {
            "running_tunings": 2,
            "waiting_tunings": None,
            "stored_bytes": 0,
            "creates_per_minute": None,
        }
        assert account["limits_in_force"]["creates_per_minute"] == service.settings.creates_per_minute
        assert set(account["usage"].values()) == {0}
        assert (await admin.get(f"/v1/accounts.get/{id}")).json() == account
        assert (await admin.get("/v1/accounts.list?limit=1")).json()["data"] == [account]
        assert code(await admin.post("/v1/accounts.create", json={"name": "team"})) == (409, "account_exists")
        for route in ("create", f"update/{id}"):  # it would be taken for that account wherever one is named
            assert code(await admin.post(f"/v1/accounts.{route}", json={"name": id})) == (
                400,
                "invalid_value",
            )
        renamed = await admin.post(f"/v1/accounts.update/{id}", json={"name": "others"})
        assert (renamed.json()["name"], renamed.json()["limits"]) == ("others", account["limits"])
        assert code(await admin.post("/v1/accounts.create", json={"name": "others"}))[0] == 409
        wrong = {"name": 7, "limits": {"running_tunings": -1}}
        faults = (await admin.post(f"/v1/accounts.update/{id}", json=wrong)).json()["error"]["errors"]
        assert {fault["param"] for fault in faults} == {"name", "limits"}

        wish = {"name": "ci", "scopes": ["read", "write"], "account": id}
        key = (await admin.post("/v1/keys.create", json=wish)).json()["key"]
        async with service.client(key) as member, another_api(service) as elsewhere:
            elsewhere.headers["authorization"] = f"Bearer {key}"
            assert (await member.get("/v1/accounts.current")).json()["name"] == "others"
            # Only admins see or change accounts, also the own one.
            for method, path in (
                ("GET", "/v1/accounts.list"),
                ("GET", f"/v1/accounts.get/{id}"),
                ("POST", f"/v1/accounts.reinstate/{id}"),
            ):
                assert code(await member.request(method, path)) == (403, "missing_scope")
            assert (await elsewhere.get("/v1/models")).status_code == 200
            suspended = await admin.post(f"/v1/accounts.suspend/{id}")
            began = time.monotonic()
            assert suspended.json()["suspended"]

            async def refused_everywhere() -> bool:
                answers = [await one.get("/v1/models") for one in (member, elsewhere)]
                return all(answer.status_code == 403 for answer in answers)

            await until(refused_everywhere)
            assert time.monotonic() - began < 1.0, "a suspension took more than a second"
            assert code(await member.get("/v1/models")) == (403, "account_suspended")
            assert not (await admin.post(f"/v1/accounts.reinstate/{id}")).json()["suspended"]

            async def let_in() -> bool:
                return (await member.get("/v1/models")).status_code == 200

            await until(let_in, within=1.0)

        # Without a key for it, nobody can tell a second try from another wish for the same name.
        monkeypatch.setattr(commands, "REPLY_WITHIN", 0)
        again = {"idempotency-key": "late"}
        for name, headers, retried in (("later", {}, "false"), ("latest", again, None)):
            unanswered = await admin.post("/v1/accounts.create", json={"name": name}, headers=headers)
            assert code(unanswered) == (503, "unavailable")
            assert unanswered.headers.get("x-should-retry") == retried
        monkeypatch.undo()
        known = await admin.post("/v1/accounts.create", json={"name": "latest"}, headers=again)
        assert known.status_code == 201, known.text


async def test_quotas_hold_among_creates_at_once_on_two_apis(service: Running) -> None:
    async with (
        service.client() as client,
        another_api(service) as elsewhere,
        service.client(await open_account(service, "admin")) as admin,
    ):
        both = [client, elsewhere]
        body = {"model": MODEL, "training_file": await uploaded(client)}

        async def at_once(count: int = 20) -> list[httpx.Response]:
            return await asyncio.gather(*(both[n % 2].post(CREATE, json=body) for n in range(count)))

        # Pending tunings.
        in_force = (await limited(admin, service.account, waiting_tunings=5))["limits_in_force"]
        assert (in_force["waiting_tunings"], in_force["creates_per_minute"]) == (5, 0)
        answers = await at_once()
        assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 15
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert code(refused) == (429, "waiting_limit_exceeded")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["x-should-retry"] == "false"
        mine = [answer.json()["id"] for answer in answers if answer.status_code == 201]
        assert (await client.delete(f"/v1/tunings.cancel/{mine[0]}")).status_code == 200
        assert sorted(answer.status_code for answer in await at_once(4)) == [201, 429, 429, 429]
        assert (await client.get("/v1/accounts.current")).json()["usage"]["waiting_tunings"] == 5

        # Creates in a minute: the account's own number, not the installation's; one window for both apis.
        await limited(admin, service.account, waiting_tunings=0, creates_per_minute=7)
        answers = await at_once()
        assert sorted(answer.status_code for answer in answers) == [201] * 7 + [429] * 13
        assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"7"}

        # Stored bytes.
        stored = (await client.get("/v1/accounts.current")).json()["usage"]["stored_bytes"]
        assert stored == len(ROW) * 8
        await limited(admin, service.account, stored_bytes=stored + 3 * len(ROW))
        answers = await asyncio.gather(
            *(both[n % 2].post("/v1/files", files={"file": ("a.jsonl", ROW)}) for n in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 5
        full = next(answer for answer in answers if answer.status_code == 429)
        assert code(full) == (429, "stored_bytes_exceeded")
        kept = list((service.folder / "objects" / "files").glob("*/*"))
        assert len(kept) == 4  # of the others nothing is left
        gone = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
        assert (await client.delete(f"/v1/files/{gone}")).status_code == 200
        assert (await client.post("/v1/files", files={"file": ("a.jsonl", ROW)})).status_code == 201


async def test_the_installations_limits_hold_for_accounts_without_their_own(
    database: str, tmp_path: Path
) -> None:
    async with (
        running(memory_log(), database, tmp_path, waiting_tunings=1, stored_bytes=len(ROW) * 9) as service,
        service.client() as client,
    ):
        body = {"model": MODEL, "training_file": await uploaded(client)}
        assert (await client.post(CREATE, json=body | {"model": "none"})).status_code == 400
        assert (await client.post(CREATE, json=body)).status_code == 201
        assert code(await client.post(CREATE, json=body)) == (429, "waiting_limit_exceeded")
        again = await client.post("/v1/files", files={"file": ("b.jsonl", ROW * 2)})
        assert code(again) == (429, "stored_bytes_exceeded")
