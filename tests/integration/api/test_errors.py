"""Every refusal has one form, whatever is wrong and whoever notices."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx

from app.domain.accounts import IssueKey, RevokeKey
from app.domain.ids import derive_id
from tests.integration.api.service import MODEL, ROW, Running, open_account, until, uploaded

CREATE = "/v1/tunings.create"
JSON = {"content-type": "application/json"}


def checked(answer: httpx.Response, status: int, type: str, code: str | None = None) -> dict[str, Any]:
    """The error of an answer, which must be as the contract says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-request-id"].startswith("req-")
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) - {"errors"} == {"type", "message", "code", "param"}
    assert error["type"] == type
    assert isinstance(error["message"], str)
    assert error["message"]
    if code is not None:
        assert error["code"] == code
    return dict(error)


async def raw(service: Running, sent: bytes) -> httpx.Response:
    """What these bytes bring, up to the end of the connection."""
    there = httpx.URL(service.url)
    reader, writer = await asyncio.open_connection(there.host, there.port)
    try:
        with suppress(ConnectionError):  # the server need not read to the end
            writer.write(sent)
            await writer.drain()
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            assert headers["connection"] == "close"
            with suppress(ConnectionError):
                assert await reader.read() == b""
    finally:
        writer.close()
    return httpx.Response(int(lines[0].split()[1]), headers=headers, content=body)


async def test_what_is_no_http_is_400(service: Running) -> None:
    for sent in (
        b"\x16\x03\x01\x00\xa5hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
    ):
        checked(await raw(service, sent), 400, "invalid_request_error", "malformed_request")


async def test_a_head_without_end_is_431(service: Running, client: httpx.AsyncClient) -> None:
    ahead = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n"
    for sent in (
        b"GET /" + b"x" * 200_000,
        ahead + b"a: " + b"x" * 200_000,
        ahead + b"".join(b"x-%d: y\r\n" % number for number in range(20_000)),
    ):
        checked(await raw(service, sent), 431, "invalid_request_error", "head_too_large")
    assert (await client.get("/v1/models")).status_code == 200


async def test_an_unknown_route_is_404(client: httpx.AsyncClient) -> None:
    for path in ("/v1/nothing", "/", "/v1/tunings.get/", "/v1/tunings.get/a/b"):
        checked(await client.get(path), 404, "not_found_error", "unknown_route")


async def test_a_method_that_a_route_does_not_take_is_405(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", CREATE),
        ("POST", "/v1/models"),
        ("PATCH", "/health"),
        ("PUT", "/v1/files/x"),
        ("OPTIONS", "/v1/models"),
        ("OPTIONS", "/livez"),
    ):
        answer = await client.request(method, path)
        checked(answer, 405, "invalid_request_error", "method_not_allowed")
        assert answer.headers["allow"]


# What is asked, and what the message must say, word for word.
ASKED_WRONGLY = [
    ("tunings.list?statu=running", "unknown_parameter", "did you mean 'status'?"),
    ("tunings.list?metadat[a]=b", "unknown_parameter", "did you mean 'metadata[key]'?"),
    ("tunings.list?metadata=null", "unknown_parameter", "no query parameter 'metadata'"),
    ("tunings.list?metadata[a]=b&metadata[a]=c", "invalid_value", "metadata[a] is there twice"),
    ("models?limit=5", "unknown_parameter", "this route takes none"),
    ("files?session=x", "unknown_parameter", "Known are: limit, after, order, purpose"),
    (
        "tunings.list?status=bogus",
        "invalid_value",
        "status: value 'bogus' is none of pending, running, paused, succeeded",
    ),
    ("tunings.list?limit=many", "invalid_value", "limit: expected an integer, got a string"),
    ("tunings.list?limit=0", "invalid_value", "limit: expected an integer >= 1"),
    ("fine_tuning/jobs?status=running", "unknown_parameter", "no query parameter 'status'"),
]


async def test_what_is_wrong_is_told_in_words_that_say_what_would_be_right(client: httpx.AsyncClient) -> None:
    for asked, code, words in ASKED_WRONGLY:
        error = checked(await client.get(f"/v1/{asked}"), 400, "invalid_request_error", code)
        assert words in error["message"], asked
        assert error["param"] == asked.partition("?")[2].partition("=")[0]
    body: dict[str, Any] = {"model": 5, "method": "rlhf", "metadata": [], "suffix": None, "seed": 0.5}
    error = checked(await client.post(CREATE, json=body), 400, "invalid_request_error")
    told = {fault["param"]: fault["message"] for fault in error["errors"]}
    assert told["model"] == "model: expected a string, got an integer"
    assert told["method"] == "method: value 'rlhf' is none of supervised, dpo"
    assert told["metadata"] == "metadata: expected an object or null, got an array"
    assert told["seed"] == "seed: expected an integer or null, got a number"
    announced = await client.post("/v1/uploads", json={"filename": "a.jsonl", "bytes": len(ROW)})
    for path, file in (("files", "file"), (f"uploads/{announced.json()['id']}/parts", "data")):
        for field, code in (("purpos", "unknown_field"), ("expires_after[seconds]", "unsupported")):
            answer = await client.post(f"/v1/{path}", data={field: "1"}, files={file: ("a.jsonl", ROW)})
            error = checked(answer, 400, "invalid_request_error", code)
            assert error["param"] == field
    assert (await client.get("/v1/files")).json()["data"] == []
    assert (await client.get("/v1/fine_tuning/jobs?metadata=null&limit=1")).status_code == 200
    assert (await client.get("/v1/tunings.list?metadata[a]=b&metadata[c]=d")).status_code == 200
    assert (await client.get("/livez?whoever=asks")).status_code == 200


async def test_an_id_in_the_path_of_whatever_form_that_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    paths = ["tunings.get/{}", "tunings.metrics/{}", "tunings.adapter/{}", "models/{}"]
    paths += ["files/{}", "files/{}/content", "files/{}/check"]
    for id in ("job-none", "%00", "a%00b", "%ff", "%F0%9F%98%80", "x" * 4000, "' OR 1=1 --"):
        for path in paths:
            checked(await client.get(f"/v1/{path.format(id)}"), 404, "not_found_error", "not_found")


async def test_no_key_or_an_unknown_one_is_401(service: Running) -> None:
    async with httpx.AsyncClient(base_url=service.url) as nobody:
        for header in (None, b"", b"Bearer", b"Basic dTpw", b"Bearer sk-unknown", b"Bearer \xff\xfe"):
            headers = {b"authorization": header} if header is not None else {}
            for method, path in (("GET", "/v1/tunings.list"), ("POST", CREATE), ("POST", "/v1/files")):
                answer = await nobody.request(method, path, headers=headers)
                checked(answer, 401, "authentication_error", "invalid_api_key")
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_key_is_401(service: Running, client: httpx.AsyncClient) -> None:
    key_id = derive_id("key", service.key)
    await service.send("accounts", service.account, RevokeKey(key_id))

    async def refused() -> bool:
        return (await client.get("/v1/models")).status_code == 401

    await until(refused)
    checked(await client.get("/v1/models"), 401, "authentication_error", "invalid_api_key")


async def test_an_expired_key_is_401(service: Running) -> None:
    issue = IssueKey(
        "key-old", hashlib.sha256(b"sk-old").hexdigest(), expires_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    await service.send("accounts", service.account, issue)

    async def known() -> bool:
        return bool(await service.sql("SELECT 1 FROM api_keys WHERE id = 'key-old'"))

    await until(known)
    async with service.client("sk-old") as late:
        error = checked(await late.get("/v1/models"), 401, "authentication_error", "invalid_api_key")
        assert "expired" in error["message"]


async def test_a_suspended_account_is_403(service: Running) -> None:
    async with service.client(await open_account(service, suspended=True)) as suspended:
        for method, path in (("GET", "/v1/tunings.list"), ("POST", CREATE), ("POST", "/v1/files")):
            answer = await suspended.request(method, path)
            checked(answer, 403, "permission_error", "account_suspended")


async def test_a_key_that_may_only_read_is_403_for_what_changes(service: Running) -> None:
    async with service.client(await open_account(service, "read")) as reader:
        assert (await reader.get("/v1/models")).status_code == 200
        for method, path in (("POST", CREATE), ("POST", "/v1/files"), ("DELETE", "/v1/tunings.cancel/job-x")):
            checked(await reader.request(method, path), 403, "permission_error", "missing_scope")


BODIES = [
    b"",
    b"{",
    b"nonsense",
    b"[]",
    b'"text"',
    b"null",
    b"\xff\xfe",
    b'{"a": "\\ud800"}',
    b'{"a": 1e999}',
    b'{"a": NaN}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"seed": ' + b"9" * 5000 + b"}",
]
FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"seed": 10**30}, "seed"),
    ({"seed": -1}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"priority": 10**19}, "priority"),
    ({"hyperparameters": {"epochs": 10**30}}, "hyperparameters.epochs"),
    ({"hyperparameters": {"rank": True}}, "hyperparameters.rank"),
    ({"hyperparameters": {"learning_rate": "fast"}}, "hyperparameters.learning_rate"),
    ({"hyperparameters": {"max_length": 10**6}}, "hyperparameters.max_length"),
    ({"hyperparameters": {"lora": 3}}, "hyperparameters.lora"),
    ({"hyperparameters": []}, "hyperparameters"),
    ({"suffix": "a b"}, "suffix"),
    ({"suffix": "x" * 65}, "suffix"),
    ({"metadata": {"a": "\x00"}}, "metadata"),
    ({"metadata": {"\x00": "a"}}, "metadata"),
    ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"model": ""}, "model"),
    ({"model": "\x00"}, "model"),
    ({"training_file": None}, "training_file"),
    ({"training_file": "\x00"}, "training_file"),
    ({"validation_file": "file-none"}, "validation_file"),
    ({"method": "guessing"}, "method"),
    ({"method": "dpo"}, "training_file"),
    ({"\x00": 1}, "\x00"),
]


async def test_a_body_that_is_no_json_object_is_400(client: httpx.AsyncClient) -> None:
    for body in BODIES:
        checked(await client.post(CREATE, content=body, headers=JSON), 400, "invalid_request_error")


async def test_a_field_that_cannot_be_is_named(client: httpx.AsyncClient) -> None:
    file = await uploaded(client)
    for fields, param in FIELDS:
        body = {"model": MODEL, "training_file": file} | fields
        answer = await client.post(CREATE, content=json.dumps(body), headers=JSON)
        assert checked(answer, 400, "invalid_request_error")["param"] == param, fields


async def test_another_media_type_is_415(client: httpx.AsyncClient) -> None:
    for headers in ({"content-type": "text/plain"}, {"content-type": "multipart/form-data; boundary=x"}, {}):
        answer = await client.post(CREATE, content=b"{}", headers=headers)
        checked(answer, 415, "invalid_request_error", "unsupported_media_type")
    checked(await client.post("/v1/files", content=b"{}", headers=JSON), 415, "invalid_request_error")


async def test_a_json_body_too_large_is_413(client: httpx.AsyncClient) -> None:
    body = b'{"model": "' + b"x" * 1024**2 + b'"}'
    answer = await client.post(CREATE, content=body, headers=JSON)
    checked(answer, 413, "invalid_request_error", "body_too_large")


async def test_what_nobody_foresaw_is_500_and_the_answer_does_not_say_what(
    service: Running, client: httpx.AsyncClient
) -> None:
    file = await uploaded(client)
    job = (await client.post(CREATE, json={"model": MODEL, "training_file": file})).json()
    await service.sql("UPDATE tunings SET state = '{\"secret\": 1}' RETURNING 1")
    error = checked(await client.get(f"/v1/tunings.get/{job['id']}"), 500, "server_error", "internal_error")
    assert "secret" not in error["message"]


async def test_every_request_has_an_id_of_its_own(client: httpx.AsyncClient) -> None:
    answers = [await client.get(path) for path in ("/v1/models", "/v1/models", "/livez", "/nothing")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4


async def test_a_query_with_a_nul_or_null_or_twice_the_same_is_400(client: httpx.AsyncClient) -> None:
    await client.post("/v1/files", files={"file": ("a.jsonl", ROW)})
    for path in (
        "/v1/tunings.list?metadata[a]=%00",
        "/v1/files?purpose=%00",
        "/v1/tunings.list?status=%00",
        "/v1/tunings.list?status=null",
        "/v1/tunings.list?limit=1&limit=2",
    ):
        checked(await client.get(path), 400, "invalid_request_error")
