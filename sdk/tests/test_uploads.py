"""Large files go up in parts, and go on where they broke off."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from face import Face
from scripted_server import Answer, ScriptedServer

from tunesmith import APIError, InvalidRequestError, ServerError

CREATE = "POST /v1/uploads"
GET = "GET /v1/uploads/upload-1"
PARTS = "POST /v1/uploads/upload-1/parts"
COMPLETE = "POST /v1/uploads/upload-1/complete"
CANCEL = "POST /v1/uploads/upload-1/cancel"
MIB = 1024**2
ROWS = b"0123456789" * 10


def upload(size: int, status: str = "pending", **fields: Any) -> dict[str, Any]:
    named = {"id": "upload-1", "object": "upload", "filename": "rows.jsonl", "purpose": "fine-tune"}
    return {**named, "bytes": size, "status": status, "file": None, "parts": []} | fields


def part(number: int, size: int) -> dict[str, Any]:
    return {"id": f"part-{number}", "object": "upload.part", "upload_id": "upload-1", "bytes": size}


def sent(body: bytes) -> bytes:
    """The file inside a form of one field."""
    return body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]


def test_parts_are_put_together_for_longer_than_other_answers_take(
    make_face: Callable[..., Face], server: ScriptedServer, example: Any
) -> None:
    server.on(COMPLETE, Answer(upload(4, "completed", file=example.file()), late=0.8))
    face = make_face(timeout=0.5, max_retries=1)
    done = face.call(lambda client: client.uploads.complete("upload-1", ["part-1"]))
    assert done.status == "completed"


def test_a_large_file_goes_up_in_parts_and_is_compared_with_what_arrived(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path
) -> None:
    path, size = tmp_path / "rows.jsonl", 70 * MIB
    with path.open("wb") as sparse:
        sparse.truncate(size - 4)
        sparse.seek(0, 2)
        sparse.write(b"end\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    parts = [16, 16, 16, 16, 6]
    server.on(CREATE, Answer(upload(size), 201))
    server.on(PARTS, Answer({}, 503), *(Answer(part(n, mib * MIB), 201) for n, mib in enumerate(parts)))
    server.on(COMPLETE, Answer(upload(size, "completed", file=example.file(sha256=digest))))
    progress: list[tuple[int, int]] = []

    def on_progress(done: int, total: int) -> None:
        progress.append((done, total))

    file = face.call(lambda client: client.files.upload(path, "user_data", on_progress=on_progress))
    assert (file.id, file.sha256) == ("file-1", digest)
    announced = server.requests(CREATE)[0].json
    assert announced == {
        "filename": "rows.jsonl",
        "bytes": size,
        "purpose": "user_data",
        "mime_type": "application/jsonl",
    }
    asked = server.requests(PARTS)
    assert [round(one.size / MIB) for one in asked] == [16, *parts]
    assert b'name="data"' in asked[0].body
    keys = [one.headers["idempotency-key"] for one in asked]
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(parts)
    completed = server.requests(COMPLETE)[0].json
    assert completed == {"part_ids": [f"part-{n}" for n in range(5)], "sha256": digest}
    assert progress[-1] == (size, size)
    assert [done for done, _ in progress][: 16 * 16].count(16 * MIB) == 1
    assert {total for _, total in progress} == {size}


def test_an_upload_that_broke_off_is_gone_on_with(
    face: Face, server: ScriptedServer, example: Any, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    digest = hashlib.sha256(ROWS).hexdigest()
    second = part(2, 40) | {"sha256": hashlib.sha256(ROWS[30:70]).hexdigest()}
    known = upload(100, parts=[part(1, 30), second])
    server.on(GET, Answer(known))
    server.on(PARTS, Answer({}, 503))
    with pytest.raises(ServerError) as caught:
        face.call(lambda client: client.files.upload(path, resume="upload-1"))
    assert caught.value.upload_id == "upload-1"
    server.on(PARTS, Answer(part(3, 30), 201))
    server.on(COMPLETE, Answer(upload(100, "completed", file=example.file(sha256=digest))))
    resume = caught.value.upload_id
    file = face.call(lambda client: client.files.upload(path, resume=resume))
    assert file.sha256 == digest
    requests = server.requests(PARTS)
    assert {sent(request.body) for request in requests} == {ROWS[70:]}
    assert len({request.headers["idempotency-key"] for request in requests}) == 1
    assert server.requests(COMPLETE)[0].json == {
        "part_ids": ["part-1", "part-2", "part-3"],
        "sha256": digest,
    }


def test_an_upload_whose_completion_was_not_heard_of_sends_nothing_again(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    digest = hashlib.sha256(ROWS).hexdigest()
    server.on(GET, Answer(upload(100, "completed", file=example.file(sha256=digest))))
    assert face.call(lambda client: client.files.upload(ROWS, resume="upload-1")).id == "file-1"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            upload(100, parts=[part(1, 30) | {"sha256": "0" * 64}]),
            "another file: its part part-1 is not what lies at byte 0",
        ),
        (upload(99), "of a file of 99 bytes, and this one has 100"),
        (upload(100, "expired"), "upload-1 is expired: upload the file anew"),
        (upload(100, "cancelled"), "upload-1 is cancelled"),
    ],
)
def test_an_upload_that_cannot_be_gone_on_with_says_why(
    face: Face, server: ScriptedServer, found: dict[str, Any], words: str
) -> None:
    server.on(GET, Answer(found))
    with pytest.raises(InvalidRequestError, match=words):
        face.call(lambda client: client.files.upload(ROWS, resume="upload-1"))


@pytest.mark.parametrize("size", [100, 0])
def test_other_bytes_than_were_sent_are_noticed(
    face: Face, server: ScriptedServer, example: Any, size: int
) -> None:
    server.on("POST /v1/files", Answer(example.file(sha256="0" * 64), 201))
    with pytest.raises(APIError, match="file-1 is not what was sent"):
        face.call(lambda client: client.files.upload(ROWS[:size]))


def test_a_small_file_tells_its_progress_too(face: Face, server: ScriptedServer, example: Any) -> None:
    digest = hashlib.sha256(ROWS).hexdigest()
    server.on("POST /v1/files", Answer({}, 503), Answer(example.file(sha256=digest), 201))
    progress: list[tuple[int, int]] = []
    source = io.BytesIO(ROWS)
    face.call(
        lambda client: client.files.upload(source, on_progress=lambda done, all: progress.append((done, all)))
    )
    assert progress == [(100, 100), (100, 100)]
    assert not source.closed


def test_the_parts_can_be_sent_by_hand(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(CREATE, Answer(upload(20), 201))
    server.on(PARTS, Answer(part(1, 10), 201))
    server.on(COMPLETE, Answer(upload(20, "completed", file=example.file())))
    server.on(CANCEL, Answer(upload(20, "cancelled")))
    server.on(GET, Answer(upload(20, parts=[part(1, 10)])))
    made = face.call(lambda client: client.uploads.create("rows.jsonl", 20))
    assert (made.status, made.file, made.parts) == ("pending", None, [])
    assert face.call(lambda client: client.uploads.add_part(made.id, ROWS[:10])).bytes == 10
    assert sent(server.requests(PARTS)[0].body) == ROWS[:10]
    assert face.call(lambda client: client.uploads.get(made.id)).parts[0].id == "part-1"
    done = face.call(lambda client: client.uploads.complete(made.id, ["part-1"], md5="ab"))
    assert server.requests(COMPLETE)[0].json == {"part_ids": ["part-1"], "md5": "ab"}
    assert done.file.id == "file-1"
    assert face.call(lambda client: client.uploads.cancel(made.id)).status == "cancelled"
