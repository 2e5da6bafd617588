"""Files by the api: streamed in, checked, listed, read back, deleted."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.api.service import MODEL, ROW, Running, memory_log, running, until, uploaded

BOUNDARY = {"content-type": "multipart/form-data; boundary=B"}
HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'


def objects(service: Running) -> list[str]:
    """Names of what lies in the store."""
    root = service.folder / "objects"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_an_upload_answers_once_the_file_is_checked(
    service: Running, client: httpx.AsyncClient
) -> None:
    content = ROW * 5
    answer = await client.post(
        "/v1/files", data={"purpose": "fine-tune"}, files={"file": ("../../etc/train.jsonl", content)}
    )
    assert answer.status_code == 201
    file = answer.json()
    assert (file["object"], file["status"], file["rows"]) == ("file", "processed", 5)
    assert (file["filename"], file["purpose"], file["bytes"]) == ("train.jsonl", "fine-tune", len(content))
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert (await client.get(f"/v1/files/{file['id']}")).json() == file
    assert [one for one in objects(service) if one.startswith(f"files/{file['id']}/")]


async def test_the_content_comes_back_byte_for_byte(client: httpx.AsyncClient) -> None:
    content = ROW * 20_000  # several chunks
    id = await uploaded(client, content)
    answer = await client.get(f"/v1/files/{id}/content")
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert "train.jsonl" in answer.headers["content-disposition"]


async def test_a_bad_files_faults_are_all_told(client: httpx.AsyncClient) -> None:
    content = b"not json\n" + ROW + b'{"messages": []}\n'
    upload = (await client.post("/v1/files", files={"file": ("bad.jsonl", content)})).json()
    assert (upload["status"], upload["fault_count"]) == ("error", 2)
    assert upload["status_details"].startswith("line 1")
    report = (await client.get(f"/v1/files/{upload['id']}/check")).json()
    assert (report["object"], report["status"], report["fault_count"]) == ("file.check", "error", 2)
    assert [fault["line"] for fault in report["faults"]] == [1, 3]


async def test_a_nul_in_a_files_row_harms_nobody(client: httpx.AsyncClient) -> None:
    content = b'{"\\u0000": 1, "messages": [{"role": "\\u0000", "content": "\\u0000"}]}\n'
    upload = (await client.post("/v1/files", files={"file": ("nul.jsonl", content)})).json()
    assert upload["status"] == "error", upload
    assert await uploaded(client)


async def test_files_are_listed_newest_first_and_turned_round(client: httpx.AsyncClient) -> None:
    made = [await uploaded(client) for _ in range(3)]
    page = (await client.get("/v1/files", params={"limit": 2})).json()
    assert ([file["id"] for file in page["data"]], page["has_more"]) == (made[:0:-1], True)
    rest = (await client.get("/v1/files", params={"after": page["last_id"]})).json()
    assert ([file["id"] for file in rest["data"]], rest["has_more"]) == (made[:1], False)
    turned = (await client.get("/v1/files", params={"order": "asc"})).json()
    assert [file["id"] for file in turned["data"]] == made
    assert (await client.get("/v1/files", params={"purpose": "user_data"})).json()["data"] == []


async def test_a_deleted_file_is_gone_for_every_use(client: httpx.AsyncClient) -> None:
    id = await uploaded(client)
    answer = await client.delete(f"/v1/files/{id}")
    assert (answer.status_code, answer.json()) == (200, {"id": id, "object": "file", "deleted": True})
    assert (await client.get(f"/v1/files/{id}")).status_code == 404
    assert (await client.delete(f"/v1/files/{id}")).status_code == 404
    assert (await client.get("/v1/files")).json()["data"] == []
    create = await client.post("/v1/tunings.create", json={"model": MODEL, "training_file": id})
    assert create.json()["error"]["code"] == "file_not_found"


FORMS = [
    (b"", "invalid_multipart"),
    (b"no form at all", "invalid_multipart"),
    (b"--B", "invalid_multipart"),
    (HEAD, "invalid_multipart"),
    (HEAD + ROW, "invalid_multipart"),
    (HEAD + ROW + b"\r\n--B", "invalid_multipart"),
    (HEAD + ROW * 300_000, "invalid_multipart"),
    (b"--B\r\nbroken header\r\n\r\nx\r\n--B--\r\n", "invalid_multipart"),
    (b"--B\r\nX: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--B--\r\n", "invalid_multipart"),
    (
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n') * 30 + b"--B--\r\n",
        "invalid_multipart",
    ),
    (b"--B--\r\n", "missing_field"),
    (b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--B--\r\n', "missing_field"),
    (HEAD + ROW + b"\r\n" + HEAD + ROW + b"\r\n--B--\r\n", "invalid_value"),
    (HEAD + b"\r\n--B--\r\n", "file_empty"),
    (
        b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nevil\r\n'
        + HEAD
        + ROW
        + b"\r\n--B--\r\n",
        "invalid_value",
    ),
    (
        b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\n' + b"x" * 70_000 + b"\r\n--B--\r\n",
        "invalid_value",
    ),
]


async def test_a_bad_form_is_refused_and_nothing_is_kept(service: Running, client: httpx.AsyncClient) -> None:
    for body, code in FORMS:
        answer = await client.post("/v1/files", content=body, headers=BOUNDARY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), (body[:200], answer.text)
        assert [name for name in objects(service) if name.startswith("files/")] == []
        assert (await client.get("/v1/files")).json()["data"] == []


async def test_a_boundary_that_cannot_be_is_refused(client: httpx.AsyncClient) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=B"):
        answer = await client.post("/v1/files", content=b"--B--\r\n", headers={"content-type": kind})
        assert answer.status_code == 415, answer.text


async def test_a_client_that_breaks_off_leaves_nothing(service: Running, client: httpx.AsyncClient) -> None:
    class Gone(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield HEAD
        for _ in range(200):
            yield ROW * 1000
        raise Gone

    with pytest.raises(Gone):
        await client.post("/v1/files", content=broken(), headers=BOUNDARY)

    async def clean() -> bool:
        return [name for name in objects(service) if name.startswith("files/")] == []

    await until(clean)
    assert await uploaded(client)


async def test_a_file_over_the_limit_is_413_and_nothing_is_kept(database: str, tmp_path: Path) -> None:
    async with (
        running(memory_log(), database, tmp_path, upload_limit_bytes=100_000) as service,
        service.client() as client,
    ):
        answer = await client.post("/v1/files", files={"file": ("big.jsonl", b"x" * 100_001)})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (413, "file_too_large", "file")
        assert [name for name in objects(service) if name.startswith("files/")] == []
        assert (await client.post("/v1/files", files={"file": ("ok", ROW * 100)})).status_code == 201


async def test_without_a_check_in_time_the_answer_is_the_file_as_uploaded(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.routes.files.CHECKED_WITHIN", 0.2)
    async with (
        running(memory_log(), database, tmp_path, reactor=False) as service,
        service.client() as client,
    ):
        upload = await client.post("/v1/files", files={"file": ("a.jsonl", ROW)})
        assert (upload.status_code, upload.json()["status"]) == (201, "uploaded")
        create = await client.post(
            "/v1/tunings.create", json={"model": MODEL, "training_file": upload.json()["id"]}
        )
        assert (create.status_code, create.json()["error"]["code"]) == (400, "file_not_processed")


async def test_uploads_at_the_same_time_do_not_mix(client: httpx.AsyncClient) -> None:
    contents = [ROW * (number + 1) * 50 for number in range(6)]
    ids = await asyncio.gather(*(uploaded(client, content) for content in contents))
    for id, content in zip(ids, contents, strict=True):
        assert (await client.get(f"/v1/files/{id}/content")).content == content
