"""Uploads in parts: by the stock client, gone on with after a break, completed once, refused, freed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from openai import AsyncOpenAI

from app.api import auth
from app.log.port import Record
from app.reactors import free_uploads
from app.reactors.free_uploads import Patience
from app.storage.keys import check_key
from tests.integration.api.service import ROW, Running, memory_log, open_account, until, uploaded
from tests.integration.api.test_files import objects

CONTENT = b"".join(ROW.replace(b"1 + 1", b"%d + 1" % number) for number in range(300))
THIRD = len(CONTENT) // 3
PIECES = (CONTENT[:THIRD], CONTENT[THIRD : 2 * THIRD], CONTENT[2 * THIRD :])


async def begun(client: httpx.AsyncClient, size: int = len(CONTENT), **more: Any) -> str:
    """The id of a new upload."""
    asked = {"filename": "../a/train.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": size}
    answer = await client.post("/v1/uploads", json=asked | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def sent(client: httpx.AsyncClient, id: str, piece: bytes, **headers: str) -> httpx.Response:
    return await client.post(f"/v1/uploads/{id}/parts", files={"data": ("part", piece)}, headers=headers)


async def part(client: httpx.AsyncClient, id: str, piece: bytes) -> str:
    """The id of a part that was taken."""
    answer = await sent(client, id, piece)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def complete(client: httpx.AsyncClient, id: str, parts: list[str], **more: Any) -> httpx.Response:
    return await client.post(f"/v1/uploads/{id}/complete", json={"part_ids": parts} | more)


async def unchecked(client: httpx.AsyncClient) -> str:
    """The id of a file that no check looks into."""
    answer = await client.post("/v1/files", data={"purpose": "user_data"}, files={"file": ("a", b"a")})
    return str(answer.json()["id"])


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


async def test_the_stock_client_uploads_in_chunks(service: Running, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key=service.key, max_retries=0) as client:
        upload = await client.uploads.upload_file_chunked(
            file=path,
            mime_type="text/jsonl",
            purpose="fine-tune",
            part_size=THIRD,
            md5=hashlib.md5(CONTENT).hexdigest(),
        )
        assert (upload.status, upload.filename, upload.bytes) == ("completed", "train.jsonl", len(CONTENT))
        assert upload.file is not None
        assert (upload.file.status, upload.file.purpose) == ("processed", "fine-tune")
        assert (await client.files.content(upload.file.id)).content == CONTENT
        other = await client.uploads.create(
            bytes=5, filename="a", mime_type="text/jsonl", purpose="fine-tune"
        )
        assert (await client.uploads.cancel(other.id)).status == "cancelled"


async def test_an_upload_that_broke_off_is_gone_on_with_and_completed_once(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await begun(client)
    last, first = await part(client, id, PIECES[2]), await part(client, id, PIECES[0])
    seen = (await client.get(f"/v1/uploads/{id}")).json()
    assert (seen["status"], seen["filename"], seen["file"]) == ("pending", "train.jsonl", None)
    assert [(one["id"], one["sha256"]) for one in seen["parts"]] == [
        (last, hashlib.sha256(PIECES[2]).hexdigest()),
        (first, hashlib.sha256(PIECES[0]).hexdigest()),
    ]
    assert refused(await complete(client, id, [first, last])) == (400, "upload_incomplete", "part_ids")
    middle = await part(client, id, PIECES[1])
    parts = [first, middle, last]
    assert refused(await complete(client, id, [first, "part-none"])) == (400, "part_not_found", "part_ids")
    assert refused(await complete(client, id, [first, first, last])) == (400, "invalid_value", "part_ids")
    for name, digest in (("md5", "0" * 32), ("sha256", "0" * 64)):
        assert refused(await complete(client, id, parts, **{name: digest})) == (
            400,
            "checksum_mismatch",
            name,
        )
    digest = hashlib.sha256(CONTENT).hexdigest()
    path, key = f"/v1/uploads/{id}/complete", {"idempotency-key": "whole"}
    holder = await asyncpg.connect(service.dsn)
    try:
        async with holder.transaction():  # it takes longer than its client has patience for
            await holder.execute("SELECT FROM ops.uploads WHERE id = $1 FOR UPDATE", id)
            body = {"part_ids": parts, "sha256": digest}
            with pytest.raises(httpx.ReadTimeout):
                await client.post(path, json=body, headers=key, timeout=0.5)
            again = [
                asyncio.create_task(client.post(path, json=body, headers=headers))
                for headers in (key, key, {}, {})
            ]
            await asyncio.wait(again, timeout=0.5)
            assert not any(one.done() for one in again)
    finally:
        await holder.close()
    answers = await asyncio.gather(*again)
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]
    [file] = {answer.json()["file"]["id"] for answer in answers}
    assert (await client.get("/v1/files")).json()["data"] == [answers[0].json()["file"]]
    assert len([name for name in objects(service) if name.startswith(f"files/{file}/")]) == 1
    assert (await client.get(f"/v1/files/{file}/content")).content == CONTENT
    assert (await client.get(f"/v1/files/{file}")).json()["sha256"] == digest
    assert (await client.get(f"/v1/uploads/{id}")).json()["file"]["id"] == file
    assert (await complete(client, id, parts)).json()["file"]["id"] == file
    # Refused with its bytes together already, it is completed by another key, of the same bytes.
    other = await begun(client)
    whole = [await part(client, other, CONTENT)]
    made = (await client.post("/v1/keys.create", json={"name": "ci", "scopes": ["write"]})).json()
    monkeypatch.setattr(auth, "KNOWN_SECONDS", 0.0)
    before = objects(service)
    async with service.client(made["key"]) as revoked:
        holder = await asyncpg.connect(service.dsn)
        try:
            async with holder.transaction():
                await holder.execute("SELECT FROM ops.uploads WHERE id = $1 FOR UPDATE", other)
                asked = asyncio.create_task(complete(revoked, other, whole))

                async def together() -> bool:
                    return len(objects(service)) > len(before) and "#" not in "".join(objects(service))

                await until(together)
                await client.delete(f"/v1/keys.revoke/{made['id']}")
        finally:
            await holder.close()
        assert (await asked).status_code == 401
    found = (await complete(client, other, whole)).json()["file"]
    assert (found["status"], found["sha256"]) == ("processed", digest)
    monkeypatch.undo()

    ended = (400, "invalid_state_transition")
    assert refused(await complete(client, id, parts[:2]))[:2] == ended
    assert refused(await sent(client, id, b"more"))[:2] == ended
    assert refused(await client.post(f"/v1/uploads/{id}/cancel"))[:2] == ended
    await client.delete(f"/v1/files/{file}")
    again = (await complete(client, id, parts)).json()
    assert (again["status"], again["file"]) == ("completed", None)


async def test_what_cannot_be_is_refused_and_a_repetition_is_the_same(
    service: Running, client: httpx.AsyncClient
) -> None:
    asked = {"filename": "a.jsonl", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": 100}
    for change, param in (
        ({"bytes": 0}, "bytes"),
        ({"bytes": "5"}, "bytes"),
        ({"purpose": "assistants"}, "purpose"),
        ({"filename": ""}, "filename"),
        ({"mime_type": "a\0"}, "mime_type"),
        ({"surprise": 1}, "surprise"),
    ):
        answer = await client.post("/v1/uploads", json=asked | change)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert refused(await client.post("/v1/uploads", json=asked | {"bytes": 2**62})) == (
        *(413, "file_too_large"),
        "bytes",
    )
    repeated = [
        await client.post("/v1/uploads", json=asked, headers={"idempotency-key": "one"}) for _ in range(2)
    ]
    assert repeated[0].json() == repeated[1].json()
    other = await client.post("/v1/uploads", json=asked | {"bytes": 7}, headers={"idempotency-key": "one"})
    assert refused(other)[:2] == (409, "idempotency_conflict")

    id = repeated[0].json()["id"]
    twice = [await sent(client, id, b"x" * 40, **{"idempotency-key": "part"}) for _ in range(2)]
    assert twice[0].json() == twice[1].json()
    changed = await sent(client, id, b"y" * 40, **{"idempotency-key": "part"})
    assert refused(changed)[:2] == (409, "idempotency_conflict")
    assert refused(await sent(client, id, b"")) == (400, "file_empty", "data")
    wrong = await sent(client, id, b"x", **{"x-content-sha256": "0" * 64})
    assert refused(wrong) == (400, "checksum_mismatch", "x-content-sha256")
    unnamed = await client.post(f"/v1/uploads/{id}/parts", files={"file": ("part", b"x")})
    assert refused(unnamed) == (400, "missing_field", "data")
    large = await sent(client, id, bytes(64 * 1024**2 + 1))
    assert refused(large) == (413, "file_too_large", "data")
    bodies: list[dict[str, Any]] = [{}, {"part_ids": []}, {"part_ids": "a"}, {"part_ids": ["a"], "md5": "x"}]
    for body in bodies:
        assert (await client.post(f"/v1/uploads/{id}/complete", json=body)).status_code == 400
    kept = [name for name in objects(service) if name.startswith("uploads/")]
    assert len(kept) == 1, kept

    async with service.client(await open_account(service)) as stranger:
        for answer in (
            await stranger.get(f"/v1/uploads/{id}"),
            await sent(stranger, id, b"x"),
            await complete(stranger, id, [twice[0].json()["id"]]),
            await stranger.post(f"/v1/uploads/{id}/cancel"),
        ):
            assert answer.status_code == 404, answer.text
    for _ in range(2):
        assert (await client.post(f"/v1/uploads/{id}/cancel")).json()["status"] == "cancelled"
    late = await complete(client, id, [twice[0].json()["id"]])
    assert refused(late)[:2] == (400, "invalid_state_transition")


@asynccontextmanager
async def freeing(service: Running, age: float) -> AsyncIterator[asyncpg.Pool]:
    """The reactor, with less patience than usual."""
    stop, patience = asyncio.Event(), Patience(ended=0.1, store=0.1, age=age)
    async with asyncpg.create_pool(service.dsn, min_size=1, max_size=3) as pool:
        serving = asyncio.create_task(
            free_uploads.serve(service.log, pool, service.store, stop, patience=patience)
        )
        try:
            yield pool
        finally:
            stop.set()
            await serving


async def test_what_nobody_will_ask_for_is_freed_and_nothing_else(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await uploaded(client)
    removed, freed = [await unchecked(client) for _ in range(2)]
    for id in (removed, freed):
        await client.delete(f"/v1/files/{id}")
        await service.store.put_bytes(check_key(id), b"{}")

    async def remembered() -> bool:
        return len(await service.sql("SELECT FROM ops.deleted_files")) == 2

    await until(remembered)
    # As if its check had ended only after it was freed.
    await service.sql("DELETE FROM ops.deleted_files WHERE id = $1", freed)
    going, given_up, late, done = [await begun(client) for _ in range(4)]
    for id in (going, given_up, late):
        await part(client, id, PIECES[0])
    finished = await complete(client, done, [await part(client, done, CONTENT)])
    await client.post(f"/v1/uploads/{given_up}/cancel")
    await service.sql("UPDATE ops.uploads SET expires_at = now() - interval '1 second' WHERE id = $1", late)
    assert (await client.get(f"/v1/uploads/{late}")).json()["status"] == "expired"
    assert refused(await sent(client, late, b"x"))[:2] == (400, "invalid_state_transition")
    for key in ("files/file-nobodys/1", "files/file-nobodys.check.json", "uploads/upload-nobodys/part-1/1"):
        await service.store.put_bytes(key, b"x")
    staged = service.folder / "objects" / "files" / "file-nobodys" / "2#1"
    staged.write_bytes(b"x")

    def kept() -> set[str]:
        return {name.split("/")[1] for name in objects(service) if name.count("/") > 1}

    def checked() -> set[str]:
        return {name.split("/")[1].partition(".")[0] for name in objects(service) if name.count("/") == 1}

    async def only(*ids: str) -> bool:
        return kept() == set(ids)

    used = finished.json()["file"]["id"]
    async with freeing(service, age=3600.0):
        await until(lambda: only(file, removed, freed, used, going, "file-nobodys", "upload-nobodys"))
        assert (await client.get(f"/v1/uploads/{late}")).json()["status"] == "expired"
    assert staged.exists()
    monkeypatch.setattr("app.reactors.lag.SHOWN_WITHIN", 1)
    async with asyncpg.create_pool(service.dsn, min_size=1, max_size=1) as pool:
        further = memory_log()  # of which the read model has not seen everything
        writer = await further.writer()
        for _ in range(100):
            await writer.send(Record("tunesmith.files.events.v1", "file-a", b"{}"))
        await writer.close()
        await free_uploads._free_nobodys(further, pool, service.store, -1.0)
    assert staged.exists()
    assert checked() == {file, removed, freed, used, "file-nobodys"}
    async with freeing(service, age=-1.0):
        await until(lambda: only(file, removed, freed, used, going))
    assert checked() == {file, removed, used}
    assert (await client.get(f"/v1/files/{used}/content")).content == CONTENT
    assert (await client.get(f"/v1/uploads/{going}")).json()["parts"]
