"""Files by the api: streamed in, checked, listed, read back, deleted."""

from __future__ import annotations

import asyncio
import base64
import gc
import gzip
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.integration.api.service import MODEL, ROW, Running, memory_log, running, until, uploaded

UPLOAD_MIB = 300

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


async def test_all_of_very_many_faults_are_told_page_by_page(client: httpx.AsyncClient) -> None:
    content = (b"{\n" * 999 + ROW) * 3  # the repeated row warns
    id = (await client.post("/v1/files", files={"file": ("bad.jsonl", content)})).json()["id"]
    seen: list[int] = []
    while True:
        page = (await client.get(f"/v1/files/{id}/check", params={"limit": 700, "after": len(seen)})).json()
        seen += [fault["line"] for fault in page["faults"]]
        assert (page["fault_count"], page["warning_count"]) == (2997, 2)
        if not page["has_more"]:
            break
    assert seen == [line for line in range(1, 3001) if line % 1000]
    whole = (await client.get(f"/v1/files/{id}/check")).json()
    assert (len(whole["faults"]), [one["line"] for one in whole["warnings"]]) == (1000, [2000, 3000])
    beyond = (await client.get(f"/v1/files/{id}/check", params={"after": 10**9})).json()
    assert (beyond["faults"], beyond["has_more"], beyond["fault_count"]) == ([], False, 2997)


async def test_bytes_that_changed_on_their_way_are_refused(
    service: Running, client: httpx.AsyncClient
) -> None:
    packed = gzip.compress(ROW * 5)  # as it is: what is in it is the check's affair
    right, wrong = hashlib.sha256(packed).hexdigest(), hashlib.sha256(b"").hexdigest()
    form = {"file": ("train.jsonl.gz", packed)}
    body = client.build_request("POST", "/v1/files", files=form).read()
    told = base64.b64encode(hashlib.sha256(body).digest()).decode()
    upload: list[tuple[str, dict[str, Any]]] = [
        ("sha256", {"data": {"sha256": wrong}}),
        ("x-content-sha256", {"headers": {"x-content-sha256": wrong}}),
        ("content-digest", {"headers": {"content-digest": f"sha-256=:{told}:"}}),  # the boundary is another
    ]
    for param, given in upload:
        answer = await client.post("/v1/files", files=form, **given)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "checksum_mismatch", param)
        assert [name for name in objects(service) if name.startswith("files/")] == []
    answer = await client.post(
        "/v1/files", files=form, data={"sha256": right.upper()}, headers={"x-content-sha256": right}
    )
    file = answer.json()
    assert (answer.status_code, file["status"], file["rows"]) == (201, "processed", 5)
    body = HEAD + ROW + b"\r\n--B--\r\n"
    told = base64.b64encode(hashlib.sha512(body).digest()).decode()
    headers = BOUNDARY | {"content-digest": f"md5=:AAAA:, sha-512=:{told}:"}
    assert (await client.post("/v1/files", content=body, headers=headers)).status_code == 201


async def test_a_tuning_takes_only_files_of_its_methods_formats_and_sound_validation(
    client: httpx.AsyncClient,
) -> None:
    def rows(*numbers: int) -> bytes:
        made = [{"prompt": f"{number} + 1?", "completion": str(number + 1)} for number in numbers]
        return "".join(json.dumps(row) + "\n" for row in made).encode()

    pair = {"prompt": "1 + 1?", "chosen": "2", "rejected": "3"}
    preference = await uploaded(client, json.dumps(pair).encode())
    text = await uploaded(client, b'{"text": "1 + 1 = 2"}')
    training, apart, mixed = [await uploaded(client, rows(*some)) for some in ((1, 2, 3), (4, 5), (3, 4))]
    assert (await client.get(f"/v1/files/{preference}")).json()["format"] == "preference"

    async def create(training: str, validation: str | None = None) -> tuple[int, Any]:
        wanted = {"model": MODEL, "training_file": training, "validation_file": validation}
        answer = await client.post("/v1/tunings.create", json=wanted)
        error = answer.json().get("error") or {}
        return answer.status_code, [(one["param"], one["code"]) for one in error.get("errors", ())]

    mismatch = ("training_file", "file_format_mismatch")
    assert await create(preference) == (400, [mismatch])
    assert await create(training, preference) == (400, [("validation_file", "file_format_mismatch")])
    assert await create(training, training) == (400, [("validation_file", "validation_overlap")])
    for file, validation in ((text, None), (training, apart), (training, mixed)):
        assert (await create(file, validation))[0] == 201


SENDER = """
import http.client, sys
from urllib.parse import urlsplit
url, key, size = urlsplit(sys.argv[1]), sys.argv[2], int(sys.argv[3]) * 2**20
head = (b'--B\\r\\nContent-Disposition: form-data; name="purpose"\\r\\n\\r\\nuser_data\\r\\n'
        b'--B\\r\\nContent-Disposition: form-data; name="file"; filename="a"\\r\\n\\r\\n')
tail = b"\\r\\n--B--\\r\\n"
connection = http.client.HTTPConnection(url.hostname, url.port)
connection.putrequest("POST", "/v1/files")
connection.putheader("authorization", f"Bearer {key}")
connection.putheader("content-type", "multipart/form-data; boundary=B")
connection.putheader("content-length", str(len(head) + size + len(tail)))
connection.endheaders(head)
for _ in range(size // 2**20):
    connection.send(bytes(2**20))
connection.send(tail)
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


async def test_a_large_upload_moves_the_servers_memory_by_little(
    service: Running, client: httpx.AsyncClient
) -> None:
    await uploaded(client)
    gc.collect()
    here = psutil.Process()
    before, most = here.memory_info().rss, 0
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SENDER,
        service.url,
        service.key,
        str(UPLOAD_MIB),
        stdout=asyncio.subprocess.PIPE,
    )
    sent = asyncio.create_task(sender.communicate())
    while not sent.done():
        most = max(most, here.memory_info().rss)
        await asyncio.sleep(0.01)
    out, _ = await sent
    assert out.startswith(b"201 "), out
    assert json.loads(out[4:])["bytes"] == UPLOAD_MIB * 1024**2
    assert most - before < 50 * 1024**2, f"{(most - before) / 1024**2:.0f} MiB more"


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
        b"".join(
            b'--B\r\nContent-Disposition: form-data; name="%d"\r\n\r\nx\r\n' % field for field in range(30)
        )
        + b"--B--\r\n",
        "invalid_multipart",
    ),
    (
        (b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n') * 2
        + HEAD
        + ROW
        + b"\r\n--B--\r\n",
        "invalid_value",
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


async def test_a_file_over_the_limit_is_413_and_an_upload_in_parts_takes_its_room(
    database: str, tmp_path: Path
) -> None:
    limits: dict[str, Any] = {"upload_limit_bytes": 100_000, "stored_bytes": 150_000}
    async with (
        running(memory_log(), database, tmp_path, **limits) as service,
        service.client() as client,
    ):
        answer = await client.post("/v1/files", files={"file": ("big.jsonl", b"x" * 100_001)})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (413, "file_too_large", "file")
        assert [name for name in objects(service) if name.startswith("files/")] == []
        assert (await client.post("/v1/files", files={"file": ("ok", ROW * 100)})).status_code == 201
        asked = {"filename": "a", "purpose": "fine-tune", "mime_type": "text/jsonl", "bytes": 99_000}
        first = await client.post("/v1/uploads", json=asked)
        await service.sql("DELETE FROM ops.reserved")  # as an hour later
        second = await client.post("/v1/uploads", json=asked)
        assert (second.status_code, second.json()["error"]["code"]) == (429, "stored_bytes_exceeded")
        assert (await client.post(f"/v1/uploads/{first.json()['id']}/cancel")).status_code == 200
        assert (await client.post("/v1/uploads", json=asked)).status_code == 201


async def test_without_a_check_in_time_the_answer_is_the_file_as_uploaded(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.stored_files.CHECKED_WITHIN", 0.2)
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
