"""The files: uploaded in constant memory, listed, checked, read, deleted."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from face import Face
from scripted_server import Answer, ScriptedServer

from tunesmith import NotFoundError, TimeoutError

UPLOAD = "POST /v1/files"
LIST = "GET /v1/files"
GET = "GET /v1/files/file-1"
CONTENT = "GET /v1/files/file-1/content"
ROWS = b'{"messages": []}\n'


def test_a_path_is_uploaded_as_a_form_with_its_name_and_purpose(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path
) -> None:
    path = tmp_path / "träin.jsonl"
    path.write_bytes(ROWS)
    server.on(UPLOAD, Answer(example.file(), 201))
    file = face.call(lambda client: client.files.upload(path))
    assert (file.id, file.status, file.rows) == ("file-1", "processed", None)
    asked = server.asked[0]
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert int(asked.headers["content-length"]) == asked.size
    assert b'name="purpose"\r\n\r\nfine-tune\r\n' in asked.body
    assert 'filename="träin.jsonl"'.encode() in asked.body
    assert ROWS in asked.body
    assert asked.headers["idempotency-key"]


@pytest.mark.parametrize("kind", ["bytes", "open file", "buffer", "text path"])
def test_bytes_and_open_files_are_uploaded_too(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path, kind: str
) -> None:
    server.on(UPLOAD, Answer(example.file(), 201))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    with path.open("rb") as opened:
        opened.read(3)
        given = {"bytes": ROWS, "open file": opened, "buffer": io.BytesIO(ROWS), "text path": str(path)}[kind]
        face.call(lambda client: client.files.upload(given, "user_data", filename="mine.jsonl"))
    body = server.asked[0].body
    assert b'filename="mine.jsonl"' in body
    assert b"user_data" in body
    assert b"\r\n\r\n" + ROWS + b"\r\n" in body


def test_a_repeated_upload_sends_the_whole_file_again_with_the_same_key(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(UPLOAD, Answer({}, 503), Answer(cut="before"), Answer(example.file(), 201))
    face.call(lambda client: client.files.upload(io.BytesIO(ROWS)))
    assert len(server.asked) == 3
    assert all(b"\r\n\r\n" + ROWS + b"\r\n" in asked.body for asked in server.asked)
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1


def test_a_large_file_goes_up_and_down_in_constant_memory(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path
) -> None:
    size = 48 * 1024**2
    path = tmp_path / "large.jsonl"
    with path.open("wb") as sparse:
        sparse.truncate(size)
    content = path.read_bytes()
    server.on(UPLOAD, Answer(example.file(), 201))
    server.on(CONTENT, Answer(content))
    tracemalloc.start()
    try:
        face.call(lambda client: client.files.upload(path))
        face.call(lambda client: client.files.download("file-1", tmp_path / "back"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert server.asked[0].size > size
    assert peak < 8 * 1024**2
    assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(content).digest()


def test_what_cannot_be_uploaded_is_refused_before_anything_is_sent(
    face: Face, server: ScriptedServer, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        face.call(lambda client: client.files.upload(tmp_path / "missing.jsonl"))
    with pytest.raises(TypeError, match="mode 'rb'"):
        face.call(lambda client: client.files.upload(io.StringIO("text")))
    with pytest.raises(TypeError, match="give a path"):
        face.call(lambda client: client.files.upload(7))
    assert server.asked == []


def test_files_are_listed_and_iterated(face: Face, server: ScriptedServer, example: Any) -> None:
    first = example.page(example.file(id="file-2"), more=True, last_id="file-2")
    last = example.page(example.file())
    server.on(LIST, Answer(first), Answer(last), Answer(first), Answer(last))
    page = face.call(lambda client: client.files.list(1, purpose="fine-tune", order="asc"))
    assert [file.id for file in page] == ["file-2"]
    assert [file.id for file in face.call(lambda _: page.next_page())] == ["file-1"]
    assert server.asked[1].query == {
        "limit": "1",
        "after": "file-2",
        "purpose": "fine-tune",
        "order": "asc",
    }
    assert [file.id for file in face.collect(lambda client: client.files.iter())] == ["file-2", "file-1"]


def test_a_check_has_every_fault_typed(face: Face, server: ScriptedServer) -> None:
    faults = [{"line": 3, "code": "bad_json", "pointer": "", "message": "no JSON", "fix": "quote it"}]
    check = {"object": "file.check", "id": "file-1", "status": "error", "faults": faults, "fault_count": 9}
    server.on("GET /v1/files/file-1/check", Answer(check))
    found = face.call(lambda client: client.files.check("file-1"))
    assert (found.faults[0].line, found.faults[0].fix, found.fault_count) == (3, "quote it", 9)
    assert found.statistics is None
    assert found.to_dict() == check


def test_content_is_read_downloaded_and_deleted(face: Face, server: ScriptedServer, tmp_path: Path) -> None:
    server.on(CONTENT, Answer(ROWS, 200, {"content-type": "application/octet-stream"}))
    assert face.call(lambda client: client.files.content("file-1")) == ROWS
    path = face.call(lambda client: client.files.download("file-1", tmp_path / "a" / "rows.jsonl"))
    assert path.read_bytes() == ROWS
    server.on("DELETE /v1/files/file-1", Answer({"id": "file-1", "object": "file", "deleted": True}))
    assert face.call(lambda client: client.files.delete("file-1")).deleted is True


def test_a_download_that_fails_leaves_the_old_file_and_no_scraps(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path
) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_text("old")
    server.on(CONTENT, example.error(404, "not_found", "gone"))
    with pytest.raises(NotFoundError):
        face.call(lambda client: client.files.download("file-1", target))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_waiting_for_the_check_ends_with_its_verdict_or_in_time(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(GET, Answer(example.file(status="uploaded")), Answer(example.file(status="error")))
    assert face.call(lambda client: client.files.wait_until_processed("file-1")).status == "error"
    assert face.sleeps == [1.0]
    server.on(GET, Answer(example.file(status="uploaded")))
    with pytest.raises(TimeoutError, match="not processed within 0s"):
        face.call(lambda client: client.files.wait_until_processed("file-1", timeout=0))


def test_models_are_listed_and_got(face: Face, server: ScriptedServer, example: Any) -> None:
    model = {"id": "m", "object": "model", "created": 1, "owned_by": "tunesmith", "context_length": 8192}
    server.on("GET /v1/models", Answer(example.page(model, {"id": "ft:m::job-1", "base_model": "m"})))
    models = face.call(lambda client: client.models.list())
    assert [(model.id, model.base_model) for model in models] == [("m", None), ("ft:m::job-1", "m")]
    assert [model.id for model in face.collect(lambda client: client.models.iter())] == ["m", "ft:m::job-1"]
