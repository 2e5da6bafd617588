"""The audit log: every refusal and every change is told, of no body a word, and no flood fills it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
from structlog.testing import capture_logs

from app.api.sweep import sweep
from app.domain.ids import derive_id
from tests.integration.api.proxy import proxied
from tests.integration.api.service import MODEL, Running, memory_log, open_account, running, until, uploaded

CREATE = "/v1/tunings.create"


async def entries(client: httpx.AsyncClient, at_least: int = 1, **params: str) -> list[dict[str, Any]]:
    """Entries, newest first, once there are so many: they are written a moment after the answer."""

    async def there() -> list[dict[str, Any]]:
        answer = await client.get("/v1/audit.list", params={"limit": "100"} | params)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found if len(found) >= at_least else []

    found: list[dict[str, Any]] = await until(there)
    return found


async def test_every_change_and_every_refusal_is_told(service: Running, client: httpx.AsyncClient) -> None:
    secret_text = "nobody-should-read-this"
    file = await uploaded(client)
    body = {"model": MODEL, "training_file": file, "metadata": {"a": secret_text}}
    made = await client.post(CREATE, json=body, headers={"idempotency-key": "k"})
    await client.post(CREATE, json=body, headers={"idempotency-key": "k"})  # nothing was done again
    job = made.json()["id"]
    await client.post(CREATE, json=body, headers={"idempotency-key": "k2"})
    await client.post(CREATE, json=body | {"suffix": "b"}, headers={"idempotency-key": "k2"})
    await client.post(CREATE, json={"model": secret_text})
    await client.get(f"/v1/tunings.get/{job}")  # looking is no change
    await client.get("/v1/tunings.list?limit=0")
    await client.delete(f"/v1/tunings.cancel/{job}")
    for _ in range(3):
        assert (await client.get(f"/v1/files/{file}/content")).status_code == 200
    await client.post("/v1/tunings.estimate", json={"model": MODEL})
    async with httpx.AsyncClient(base_url=service.url, headers=client.headers) as lost:
        await lost.put(CREATE, json={})
        await lost.get(f"/v1/nothing/{service.key}")
    key = (await client.post("/v1/keys.create", json={"name": "ci", "scopes": ["read"]})).json()
    await client.delete(f"/v1/files/{file}")
    await client.get("/v1/tunings.get/job-none%00")
    async with service.client(key["key"]) as reader:
        await reader.post(CREATE, json=body)

    found = await entries(client, 15)
    mine = f"key:{derive_id('key', service.key)}"
    assert [(one["action"], one["outcome"], one["status"], one["code"], one["target"]) for one in found] == [
        ("createTuning", "refused", 403, "missing_scope", None),
        ("getTuning", "refused", 404, "not_found", "job-none"),
        ("deleteFile", "done", 200, None, file),
        ("createKey", "done", 201, None, key["id"]),
        ("noOperation", "refused", 404, "unknown_route", "/v1/nothing/sk-…"),
        ("noOperation", "refused", 405, "method_not_allowed", CREATE),
        ("estimateTuning", "refused", 400, "missing_field", None),
        ("getFileContent", "done", 200, None, file),
        ("cancelTuning", "done", 200, None, job),
        ("listTunings", "refused", 400, "invalid_value", None),
        ("createTuning", "refused", 400, "missing_field", None),
        ("createTuning", "refused", 409, "idempotency_conflict", None),
        ("createTuning", "done", 201, None, found[12]["target"]),
        ("createTuning", "done", 201, None, job),
        ("uploadFile", "done", 201, None, file),
    ]
    assert {one["actor"] for one in found[1:]} == {mine}
    assert found[0]["actor"] == f"key:{key['id']}"
    assert {one["account"] for one in found} == {service.account}
    assert [one["count"] for one in found[6:9]] == [1, 3, 1]
    assert found[13]["request_id"] == made.headers["x-request-id"]
    assert {one["address"] for one in found} == {"127.0.0.1"}
    rows = str(await service.sql("SELECT * FROM ops.audit"))
    assert secret_text not in rows
    assert key["key"] not in rows

    # Pages and filters.
    page = (await client.get("/v1/audit.list?limit=4")).json()
    rest = (await client.get("/v1/audit.list", params={"after": page["last_id"]})).json()
    assert page["data"] + rest["data"] == found
    assert [one["id"] for one in await entries(client, action="createKey")] == [found[3]["id"]]
    assert len(await entries(client, outcome="refused")) == 8

    # Each account sees its own rows, an admin all, those of nobody among them.
    async with httpx.AsyncClient(base_url=service.url) as nobody:
        await nobody.get("/v1/models")
    async with service.client(await open_account(service, "admin")) as admin:
        await admin.post(f"/v1/accounts.suspend/{service.account}")
        await admin.get("/v1/audit.list")
        admins = (await admin.get("/v1/accounts.current")).json()["id"]
        everything = await entries(admin, 18)
        assert {(one["action"], one["account"]) for one in everything[:3]} == {
            ("listModels", None),
            ("suspendAccount", admins),
            ("listAuditEntries", admins),
        }
        assert await entries(admin, account=service.account) == found
        # What was suspended, and asks on.
        assert (await until(lambda: suspended(client))).status_code == 403
        last = (await entries(admin, 16, account=service.account))[0]
        assert (last["code"], last["actor"]) == ("account_suspended", mine)


async def suspended(client: httpx.AsyncClient) -> httpx.Response | None:
    answer = await client.get("/v1/models")
    return answer if answer.status_code == 403 else None


async def test_a_flood_is_a_few_rows_and_a_number_and_old_rows_go(service: Running) -> None:
    async with httpx.AsyncClient(base_url=service.url) as nobody:
        answers = await asyncio.gather(*(nobody.get("/v1/models") for _ in range(300)))
        await nobody.post(CREATE)
    assert {answer.status_code for answer in answers} == {401}
    reader, writer = await asyncio.open_connection(*urlsplit(service.url).netloc.split(":"))
    writer.write(b"this is no HTTP\r\n\r\n")
    assert b"malformed_request" in await reader.read()
    writer.close()

    async def counted() -> list[asyncpg.Record]:
        rows = await service.sql("SELECT action, code, count FROM ops.audit WHERE account_id IS NULL")
        return rows if sum(row["count"] for row in rows) == 302 else []

    rows = await until(counted)
    assert len(rows) <= 4  # three, or four where a minute ends amid them
    assert {(row["action"], row["code"]) for row in rows} == {
        ("listModels", "invalid_api_key"),
        ("createTuning", "invalid_api_key"),
        ("noOperation", "malformed_request"),
    }
    old = "action = 'createTuning'"
    await service.sql(f"UPDATE ops.audit SET at = now() - interval '91 days' WHERE {old} RETURNING 1")
    async with asyncpg.create_pool(service.dsn, min_size=1, max_size=1) as pool:
        await sweep(pool, 0)
        assert len(await service.sql(f"SELECT 1 FROM ops.audit WHERE {old}")) == 1
        await sweep(pool, 90)
    assert len(await service.sql(f"SELECT 1 FROM ops.audit WHERE {old}")) == 0
    assert len(await service.sql("SELECT 1 FROM ops.audit")) > 0


async def test_without_postgresql_a_refusal_is_logged_and_stored_later(database: str, tmp_path: Path) -> None:
    parts = urlsplit(database)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxied(parts.hostname, parts.port) as proxy:
        dsn = database.replace(f":{parts.port}/", f":{proxy.port}/")
        async with running(memory_log(), dsn, tmp_path) as service, service.client() as client:
            with capture_logs() as logged:
                await proxy.cut()
                async with httpx.AsyncClient(base_url=service.url) as nobody:
                    assert (await nobody.post(CREATE)).status_code == 401

                async def told() -> list[Any]:
                    return [one for one in logged if one["event"] == "audit_unwritten"]

                [unwritten] = await until(told)
                assert (unwritten["action"], unwritten["code"]) == ("createTuning", "invalid_api_key")
                await proxy.start()

            async def back() -> bool:
                return (await client.get("/v1/models")).status_code == 200

            await until(back)

            async def stored() -> list[Any]:
                return await service.sql("SELECT 1 FROM ops.audit WHERE id = $1", unwritten["id"])

            await until(stored)
