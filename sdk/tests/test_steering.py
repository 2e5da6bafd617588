"""The tunings before they begin and on their way: estimated, previewed, paused, changed, run again, read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from face import Face
from scripted_server import Answer, ScriptedServer

GET = "GET /v1/tunings.get/job-1"
METRICS = "GET /v1/tunings.metrics/job-1"


def test_an_estimate_asks_as_a_create_does_and_is_typed_through_and_through(
    face: Face, server: ScriptedServer
) -> None:
    estimate = {
        "object": "tuning.estimate",
        "model": "m",
        "training": {"rows": 10, "tokens": 200},
        "validation": None,
        "steps": {"per_epoch": 5, "total": 15},
        "memory": {"weights": 1, "total": 9},
        "fits": False,
        "workers": [{"worker": "w", "slot": 0, "device": "cpu", "fits": False}],
        "suggestion": {"hyperparameters": {"batch_size": 4}, "memory": 5},
        "time": {"seconds": None, "reason": "no speed was observed"},
        "findings": [{"line": 3, "code": "row_cut", "warning": True}],
        "finding_counts": {"row_cut": 1},
    }
    server.on("POST /v1/tunings.estimate", Answer(estimate))
    given = {"rank": 8, "batch_size": "auto"}
    found = face.call(
        lambda client: client.tunings.estimate("m", "file-1", given, method="dpo", validation_file="file-2")
    )
    assert found.to_dict() == estimate
    assert (found.training.tokens, found.validation, found.steps.total) == (200, None, 15)
    assert (found.memory.total, found.workers[0].fits, found.findings[0].warning) == (9, False, True)
    assert (found.suggestion.hyperparameters, found.time.seconds) == ({"batch_size": 4}, None)
    assert server.asked[0].json == {
        "model": "m",
        "training_file": "file-1",
        "validation_file": "file-2",
        "hyperparameters": given,
        "method": "dpo",
    }
    assert server.asked[0].headers["idempotency-key"]


def test_a_job_is_read_as_it_was(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on("GET /v1/tunings.get/job-1", Answer(example.job()))
    then = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    job = face.call(lambda client: client.tunings.get("job-1", as_of=then))
    assert (job.object, server.asked[-1].query) == ("tuning.job", {"as_of": "2026-01-02T02:00:00+00:00"})
    face.call(lambda client: client.tunings.get("job-1", as_of=1_700_000_000, as_of_version=2))
    assert server.asked[-1].query == {"as_of": "1700000000", "as_of_version": "2"}


def test_a_preview_shows_tokens_and_its_hash_holds_a_job_to_them(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    row = {
        "line": 2,
        "tokens": [{"id": 5, "text": "yes", "trained": True}],
        "cut": {"tokens": 7, "text": "…"},
        "rejected": [{"id": 6, "text": "no", "trained": True}],
        "rejected_cut": {"tokens": 8, "text": "…"},
        "findings": [{"line": 2, "pointer": "/chosen", "code": "row_cut", "warning": True}],
    }
    server.on("POST /v1/tunings.preview", Answer({"model": "m", "preview_hash": "ab", "rows": [row]}))
    server.on("POST /v1/tunings.create", Answer(example.job(preview_hash="ab"), 201))
    found = face.call(lambda client: client.tunings.preview("m", "file-1", lines=[2], first=1))
    assert (found.rows[0].tokens[0].text, found.rows[0].tokens[0].trained) == ("yes", True)
    assert (found.rows[0].cut.tokens, found.rows[0].fault) == (7, None)
    assert (found.rows[0].rejected[0].text, found.rows[0].rejected_cut.tokens) == ("no", 8)
    assert found.rows[0].findings[0].pointer == "/chosen"
    assert server.asked[0].json["lines"] == [2]
    job = face.call(lambda client: client.tunings.create("m", "file-1", preview_hash=found.preview_hash))
    assert (job.preview_hash, job.warm_start, job.rerun_of) == ("ab", None, None)
    assert server.asked[1].json["preview_hash"] == "ab"


@pytest.mark.parametrize(
    ("verb", "arguments", "body"),
    [
        ("pause", {}, None),
        ("resume", {}, None),
        ("update", {"priority": 3, "metadata": {"a": "b"}}, {"priority": 3, "metadata": {"a": "b"}}),
        ("update", {"metadata": {}}, {"metadata": {}}),
    ],
)
def test_a_job_is_steered_by_its_id_and_by_itself(
    face: Face, server: ScriptedServer, example: Any, verb: str, arguments: dict[str, Any], body: Any
) -> None:
    server.on(GET, Answer(example.job(status="running")))
    server.on(f"POST /v1/tunings.{verb}/job-1", Answer({}, 503), Answer(example.job(priority=3), 202))
    by_id = face.call(lambda client: getattr(client.tunings, verb)("job-1", **arguments))
    job = face.call(lambda client: client.tunings.get("job-1"))
    assert face.call(lambda _: getattr(job, verb)(**arguments)) is job
    assert (by_id.priority, job.priority) == (3, 3)
    asked = server.requests(f"POST /v1/tunings.{verb}/job-1")
    assert [request.json if request.body else None for request in asked] == [body] * 3
    keys = [request.headers["idempotency-key"] for request in asked]
    assert keys[0] == keys[1] != keys[2]


def test_a_job_is_run_again_as_another_one(face: Face, server: ScriptedServer, example: Any) -> None:
    server.on(GET, Answer(example.job()))
    server.on("POST /v1/tunings.rerun/job-1", Answer(example.job(id="job-2", rerun_of="job-1"), 201))
    job = face.call(lambda client: client.tunings.get("job-1"))
    again = face.call(lambda _: job.rerun())
    assert (job.id, again.id, again.rerun_of) == ("job-1", "job-2", "job-1")


def test_events_checkpoints_and_logs_are_read(face: Face, server: ScriptedServer, example: Any) -> None:
    first = example.page(example.event(1, "created"), more=True, last_id="job-1:1")
    server.on("GET /v1/tunings.events/job-1", Answer(first), Answer(example.page(example.event(2, "paused"))))
    checkpoint = {"id": "job-1:4", "object": "tuning.checkpoint", "step": 8, "epoch": 1, "bytes": 3}
    server.on("GET /v1/tunings.checkpoints/job-1", Answer(example.page(checkpoint)))
    log = {"object": "tuning.log", "attempt": 2, "attempts": [1, 2], "text": "loss 1\n", "truncated": False}
    server.on("GET /v1/tunings.logs/job-1", Answer(log))
    server.on(GET, Answer(example.job()))
    job = face.call(lambda client: client.tunings.get("job-1"))
    page = face.call(lambda _: job.events(1))
    assert [event.type for event in face.collect(lambda _: page.iter())] == ["created", "paused"]
    assert server.asked[-1].query == {"limit": "1", "after": "job-1:1"}
    (found,) = face.call(lambda _: job.checkpoints())
    assert (found.step, found.epoch, found.sha256) == (8, 1, None)
    printed = face.call(lambda _: job.logs(2))
    assert (printed.text, printed.attempts) == ("loss 1\n", [1, 2])
    assert server.asked[-1].query == {"attempt": "2"}


def test_a_curve_is_asked_for_by_range_and_by_number_of_points(
    face: Face, server: ScriptedServer, example: Any
) -> None:
    server.on(
        METRICS,
        Answer(example.page(example.step(3), more=True)),
        Answer(example.page(example.step(4))),
        Answer(example.page(example.step(1), example.step(9))),
    )
    page = face.call(lambda client: client.tunings.metrics("job-1", after_step=2, until_step=4, limit=1))
    assert [step.step for step in face.collect(lambda _: page.iter())] == [3, 4]
    thinned = face.call(lambda client: client.tunings.metrics("job-1", points=2))
    assert [step.step for step in thinned] == [1, 9]
    assert [request.query for request in server.asked] == [
        {"after_step": "2", "until_step": "4", "limit": "1"},
        {"after_step": "3", "until_step": "4", "limit": "1"},
        {"after_step": "0", "points": "2"},
    ]


def test_every_fault_of_a_file_is_had_page_by_page(face: Face, server: ScriptedServer) -> None:
    check = {"id": "file-1", "status": "error", "fault_count": 3}
    server.on(
        "GET /v1/files/file-1/check",
        Answer(check | {"faults": [{"line": 1}, {"line": 2}], "has_more": True}),
        Answer(check | {"faults": [{"line": 9}], "has_more": False}),
    )
    faults = face.collect(lambda client: client.files.faults("file-1", page_size=2))
    assert [fault.line for fault in faults] == [1, 2, 9]
    assert [request.query["after"] for request in server.asked] == ["0", "2"]
