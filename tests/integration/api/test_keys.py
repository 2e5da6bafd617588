"""API keys as their owners handle them: made, shown once, replaced, revoked, never beyond the maker."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import httpx
import pytest

from app.api import decisions
from app.domain.ids import derive_id
from tests.integration.api.service import Running, open_account, until


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def own(client: httpx.AsyncClient) -> str:
    """The id of a client's account."""
    return str((await client.get("/v1/accounts.current")).json()["id"])


async def test_a_key_is_made_used_listed_rotated_and_revoked(
    service: Running, client: httpx.AsyncClient
) -> None:
    made = await client.post("/v1/keys.create", json={"name": "ci", "scopes": ["read", "read"]})
    assert made.status_code == 201, made.text
    key = made.json()
    secret = key.pop("key")
    assert secret.startswith("sk-")
    assert made.headers["location"] == f"/v1/keys.get/{key['id']}"
    assert (key["name"], key["scopes"], key["status"], key["account"]) == (
        "ci",
        ["read"],
        "active",
        service.account,
    )
    async with service.client(secret) as reader:
        assert (await reader.get("/v1/models")).status_code == 200
        # A key grants what it has itself, and touches no mightier one.
        assert code(await reader.post("/v1/keys.create", json={"name": "x", "scopes": ["read"]})) == (
            403,
            "missing_scope",
        )
        assert (await reader.get(f"/v1/keys.get/{key['id']}")).json() == key
        listed = (await reader.get("/v1/keys.list")).json()["data"]
        assert listed[0] == key
        assert "sk-" not in (await reader.get("/v1/keys.list")).text
        page = (await reader.get("/v1/keys.list?limit=1")).json()
        assert page["has_more"]
        rest = (await reader.get("/v1/keys.list", params={"after": page["last_id"]})).json()["data"]
        assert page["data"] + rest == listed

        kept = await client.post(f"/v1/keys.rotate/{key['id']}", json={"keep_seconds": 3600})
        assert kept.status_code == 201, kept.text
        assert (kept.json()["name"], kept.json()["scopes"]) == ("ci", ["read"])
        assert (await reader.get("/v1/models")).status_code == 200  # the old one is good for an hour
        again = await client.post(f"/v1/keys.rotate/{kept.json()['id']}")
        async with service.client(kept.json()["key"]) as gone, service.client(again.json()["key"]) as new:
            assert (await gone.get("/v1/models")).status_code == 401
            assert (await new.get("/v1/models")).status_code == 200

        revoked = await client.delete(f"/v1/keys.revoke/{key['id']}")
        assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
        began = time.monotonic()

        async def refused() -> bool:
            return (await reader.get("/v1/models")).status_code == 401

        await until(refused)
        assert time.monotonic() - began < 1.0, "a revoked key was good for more than a second"
    assert code(await client.post(f"/v1/keys.rotate/{key['id']}")) == (400, "key_not_valid")
    assert (await client.delete(f"/v1/keys.revoke/{key['id']}")).status_code == 200
    assert [one["status"] for one in (await client.get("/v1/keys.list")).json()["data"]] == [
        "active",
        "revoked",
        "revoked",
        "active",
    ]


async def test_what_a_key_cannot_be_and_who_may_make_it(service: Running, client: httpx.AsyncClient) -> None:
    bad = {"scopes": ["read", "root"], "expires_in": 0, "account": 7, "colour": "red"}
    faults = (await client.post("/v1/keys.create", json=bad)).json()["error"]["errors"]
    assert {fault["param"] for fault in faults} == {"name", "scopes", "expires_in", "account", "colour"}
    for name in ("", "x" * 101, "a\x00", "a\nb"):
        answer = await client.post("/v1/keys.create", json={"name": name, "scopes": ["read"]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")
    wish = {"name": "mine", "scopes": ["admin"]}
    assert code(await client.post("/v1/keys.create", json=wish)) == (403, "missing_scope")

    short = await client.post("/v1/keys.create", json={"name": "s", "scopes": ["read"], "expires_in": 1})
    async with service.client(short.json()["key"]) as soon_gone:

        async def expired() -> bool:
            return (await soon_gone.get("/v1/models")).status_code == 401

        await until(expired)
    assert (await client.get(f"/v1/keys.get/{short.json()['id']}")).json()["status"] == "expired"

    async with service.client(await open_account(service, "admin")) as admin:
        # An admin makes keys for other accounts, and manages them; nobody else names another account.
        own = (await admin.get("/v1/accounts.current")).json()["id"]
        granted = {"name": "from above", "scopes": ["admin"], "account": service.account}
        mighty = (await admin.post("/v1/keys.create", json=granted)).json()
        assert mighty["account"] == service.account
        assert code(await admin.post("/v1/keys.create", json=granted | {"account": "acct-none"})) == (
            400,
            "account_not_found",
        )
        listed = (await admin.get("/v1/keys.list", params={"account": service.account})).json()["data"]
        assert listed[0]["id"] == mighty["id"]
        for path in ("/v1/keys.list", "/v1/audit.list"):
            assert code(await client.get(path, params={"account": own})) == (403, "missing_scope")
        wish = {"name": "n", "scopes": ["read"], "account": own}
        assert code(await client.post("/v1/keys.create", json=wish)) == (403, "missing_scope")
        # A mightier key of the same account is to be seen, and not to be taken over or away.
        assert (await client.get(f"/v1/keys.get/{mighty['id']}")).status_code == 200
        for answer in (
            await client.post(f"/v1/keys.rotate/{mighty['id']}"),
            await client.delete(f"/v1/keys.revoke/{mighty['id']}"),
        ):
            assert code(answer) == (403, "missing_scope")


async def test_the_last_admin_key_goes_only_by_force(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [await open_account(service, "read", "write", "admin") for _ in range(2)]
    ids = [derive_id("key", key) for key in keys]
    async with service.client(keys[0]) as one, service.client(keys[1]) as other:
        # An account that is back counts again.
        for admin, account in ((one, await own(other)), (other, await own(one))):
            for verb in ("suspend", "reinstate"):
                assert (await admin.post(f"/v1/accounts.{verb}/{account}")).status_code == 200
        # Each would take the other for the one that stays, all the more while the read model stands.
        monkeypatch.setattr(decisions, "VISIBLE_WITHIN", 0.1)
        holder = await asyncpg.connect(service.dsn)
        try:
            async with holder.transaction():
                await holder.execute("LOCK TABLE read.checkpoints IN ACCESS EXCLUSIVE MODE")
                answers = await asyncio.gather(
                    one.delete(f"/v1/keys.revoke/{ids[0]}"), other.delete(f"/v1/keys.revoke/{ids[1]}")
                )
        finally:
            await holder.close()
        monkeypatch.undo()
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        left, id = (one, ids[0]) if answers[0].status_code == 409 else (other, ids[1])
        assert code(await left.delete(f"/v1/keys.revoke/{id}")) == (409, "last_admin_key")
        account = await own(left)
        assert code(await left.post(f"/v1/accounts.suspend/{account}")) == (409, "last_admin_key")
        # Rotating it leaves one.
        rotated = (await left.post(f"/v1/keys.rotate/{id}")).json()
        async with service.client(rotated["key"]) as last:
            forced = await last.delete(f"/v1/keys.revoke/{rotated['id']}", params={"force": "true"})
            assert (forced.status_code, forced.json()["status"]) == (200, "revoked")
