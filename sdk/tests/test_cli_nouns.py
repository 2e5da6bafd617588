"""The command's nouns, one by one: what is asked, what is printed, which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Answer, ScriptedServer

from tunesmith import HYPERPARAMETERS
from tunesmith.cli import files
from tunesmith.cli.app import run
from tunesmith.cli.exit_codes import ExitCode

ESTIMATE = "POST /v1/tunings.estimate"
PREVIEW = "POST /v1/tunings.preview"
CREATE = "POST /v1/tunings.create"
ROWS = b'{"messages": []}\n'
WARNING = {
    "line": 7,
    "code": "row_cut",
    "message": "cut",
    "fix": "shorten",
    "warning": True,
    "param": "training_file",
}
ESTIMATED: dict[str, Any] = {
    "model": "m",
    "complete": True,
    "training": {
        "rows": 1_000,
        "tokens": 123_456,
        "trainable_tokens": 60_000,
        "cut_tokens": 12,
        "rows_cut": 1,
    },
    "total_tokens": 370_368,
    "total_trainable_tokens": 180_000,
    "steps": {"per_epoch": 63, "total": 189},
    "memory": {"weights": 270 * 1024**2, "logits": 1024**3, "total": 1_400 * 1024**2},
    "fits": False,
    "workers": [{"worker": "gpu-box", "slot": 0, "device": "cuda", "memory": 1024**3, "fits": False}],
    "suggestion": {"hyperparameters": {"batch_size": 4, "use_quantization": True}, "memory": 900 * 1024**2},
    "time": {"seconds": 754, "reason": "observed on gpu-box"},
    "findings": [WARNING],
    "finding_counts": {"row_cut": 1},
}
PREVIEWED: dict[str, Any] = {
    "model": "m",
    "preview_hash": "ab12",
    "rows": [
        {
            "line": 3,
            "tokens": [
                {"id": 1, "text": "1 + 1? [bold]", "trained": False},
                {"id": 2, "text": "It is", "trained": True},
                {"id": 3, "text": " 2", "trained": True},
            ],
            "cut": {"tokens": 5, "trainable_tokens": 4, "text": " and more"},
        },
        {"line": 4, "tokens": [], "fault": "this row has no answer"},
    ],
    "findings": [],
}


@pytest.fixture(autouse=True)
def _connected(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "sk-test")
    monkeypatch.setenv("TUNESMITH_BASE_URL", server.url)
    monkeypatch.setenv("COLUMNS", "200")


def test_every_hyperparameter_is_an_option_with_meaning_bounds_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for verb in ("create", "estimate", "preview"):
        assert run(["tunings", verb, "--help"]) == 0
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "Hyperparameters" in shown
        for row in HYPERPARAMETERS:
            assert "--" + row.name.replace("_", "-") in shown
            assert " ".join(row.description.split()[:3]) in shown
        assert "(from 1 to 256; default 16)" in shown
        assert "auto: twice the rank" in shown


def test_hyperparameters_are_sent_as_what_they_are(server: ScriptedServer, example: Any) -> None:
    server.on(CREATE, Answer(example.job(), 201))
    options = "--rank 8 --alpha auto --learning-rate 2e-4 --use-dora --target-modules q_proj,v_proj"
    more = "--scheduler linear --max-steps 9 --train-on all -H epochs=auto -H newer=1 --method dpo"
    assert run(["tunings", "create", "-m", "m", "-t", "file-1", *options.split(), *more.split()]) == 0
    assert server.asked[0].json["hyperparameters"] == {
        "rank": 8,
        "alpha": "auto",
        "learning_rate": 2e-4,
        "use_dora": True,
        "target_modules": ["q_proj", "v_proj"],
        "scheduler": "linear",
        "max_steps": 9,
        "train_on": "all",
        "epochs": "auto",
        "newer": 1,
    }
    assert server.asked[0].json["method"] == "dpo"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rank", "many"], "--rank is 'many': give a whole number"),
        (["--alpha", "x"], "give a number or auto"),
        (["--rank", "auto"], "--rank is 'auto': give a whole number"),
        (["--scheduler", "step"], "give constant, cosine, linear"),
        (["--rank", "8", "-H", "rank=4"], "rank is given twice: by --rank and by -H"),
    ],
)
def test_a_hyperparameter_that_cannot_be_is_one_line_and_code_2(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert run(["tunings", "create", "-m", "m", "-t", "file-1", *options]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert server.asked == []


def test_an_estimate_is_a_small_table_and_what_would_fit(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ESTIMATED | {"findings": [WARNING | {"warning": False, "code": "nothing_to_train"}]}
    server.on(ESTIMATE, Answer(ESTIMATED), Answer(ESTIMATED), Answer(wrong))
    estimate = ["tunings", "estimate", "-m", "m", "-t", "file-1", "--rank", "8"]
    assert run(estimate) == 0
    shown = capsys.readouterr().out
    for words in (
        "1,000 rows, 123,456 tokens, 60,000 learned; 12 cut in 1 rows",
        "189, 63 an epoch",
        "about 12:34",
        "1.4 GiB",
        "weights 270 MiB, logits 1.0 GiB",
        "on no worker",
        "gpu-box",
        "It would fit with --batch-size 4 --use-quantization: 900 MiB",
        "row_cut",
    ):
        assert words in shown
    assert run([*estimate, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ESTIMATED
    assert run(estimate) == ExitCode.FILE_FAULTY


def test_a_preview_marks_what_is_learned_and_what_is_cut(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on(PREVIEW, Answer(PREVIEWED))
    assert run(["tunings", "preview", "-m", "m", "-t", "file-1", "--line", "3", "--line", "4"]) == 0
    shown = capsys.readouterr().out
    assert "1 + 1? [bold]⟦It is 2⟧ and more ✂ 5 tokens are cut, 4 of them learned" in shown
    assert "this row has no answer" in shown
    assert "--preview-hash ab12" in shown
    assert server.asked[0].json["lines"] == [3, 4]


def test_a_preview_of_a_pair_shows_both_sides_and_of_a_line_only_its_own_findings(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    other = WARNING | {"line": 9, "message": "of another row"}
    row = PREVIEWED["rows"][0] | {
        "rejected": [{"id": 4, "text": "It is 3", "trained": True}],
        "cut": None,
        "rejected_cut": {"tokens": 2, "trainable_tokens": 2, "text": " or so"},
        "findings": [WARNING | {"line": 3, "pointer": "/rejected"}],
    }
    unseen = ["the training file was not looked at from line 99 on"]
    whole = PREVIEWED | {"rows": [row], "findings": [*row["findings"], other], "unseen": unseen}
    server.on(PREVIEW, Answer(whole))
    preview = ["tunings", "preview", "-m", "m", "-t", "file-1"]
    assert run([*preview, "--line", "3"]) == 0
    shown = capsys.readouterr().out
    for words in ("line 3, the better answer", "line 3, the worse answer", "⟦It is 3⟧ or so ✂ 2 tokens"):
        assert words in shown
    assert "/rejected" in shown
    assert "of another row" not in shown
    assert run(preview) == 0
    shown = capsys.readouterr().out
    assert "of another row" in shown
    assert unseen[0] in shown


def test_a_file_is_checked_by_path_and_as_a_model_reads_it(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(ROWS)
    server.on("POST /v1/files", Answer(example.file(), 201))
    server.on("GET /v1/files/file-1", Answer(example.file()))
    check = {"id": "file-1", "status": "processed", "faults": [], "fault_count": 0}
    server.on("GET /v1/files/file-1/check", Answer(check))
    server.on(ESTIMATE, Answer(ESTIMATED))
    assert run(["files", "check", str(path), "--model", "m"]) == 0
    shown = capsys.readouterr()
    assert "was uploaded as file-1" in shown.err
    for words in ("No faults.", "as m reads it", "123,456 tokens", "row_cut"):
        assert words in shown.out
    assert run(["files", "check", "file-1", "-m", "m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == check | {"estimate": ESTIMATED}
    server.on(ESTIMATE, Answer(ESTIMATED | {"findings": [WARNING | {"warning": False}]}))
    assert run(["files", "check", "file-1", "-m", "m"]) == ExitCode.FILE_FAULTY
    assert "method" not in server.asked[-1].json


def test_pairs_are_checked_as_the_method_for_pairs_reads_them_and_all_that_is_found_is_told(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET /v1/files/file-1", Answer(example.file()))
    check = {"id": "file-1", "status": "processed", "format": "preference", "faults": [], "fault_count": 0}
    server.on("GET /v1/files/file-1/check", Answer(check))
    pages = [
        ESTIMATED
        | {"findings": [WARNING | {"line": line, "pointer": "/chosen"} for line in lines], "has_more": more}
        for lines, more in ((range(1, 31), True), (range(31, 51), False))
    ]
    server.on(ESTIMATE, *map(Answer, pages))
    command = ["files", "check", "file-1", "-m", "m"]
    assert run([*command, "--max-length", "64"]) == 0
    asked = [each.json for each in server.asked if each.method == "POST"]
    assert [each["method"] for each in asked] == ["dpo", "dpo"]
    assert asked[0]["hyperparameters"] == {"max_length": 64}
    assert (asked[0].get("findings_after"), asked[1]["findings_after"]) == (None, 30)
    assert capsys.readouterr().out.count("/chosen") == 50

    refusal = {"error": {"type": "invalid_request_error", "message": "no such model", "param": "model"}}
    server.on(ESTIMATE, Answer(refusal, 400))
    assert run([*command, "--method", "supervised"]) != 0
    shown = capsys.readouterr()
    assert "No faults." in shown.out
    assert "no such model" in shown.err
    assert server.asked[-1].json["method"] == "supervised"
    assert run([*command, "--json"]) != 0
    assert json.loads(capsys.readouterr().out) == check
    assert run(["files", "check", "file-1", "--method", "dpo"]) == ExitCode.USAGE


def test_a_copy_that_was_only_looked_at_is_told_how_to_remove(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(ROWS)
    server.on("POST /v1/files", Answer(example.file(), 201))
    server.on(ESTIMATE, Answer(ESTIMATED))
    server.on(CREATE, Answer(example.job(), 201))
    assert run(["tunings", "estimate", "-m", "m", "-t", str(path)]) == 0
    assert "remove it with: tunesmith files delete file-1" in capsys.readouterr().err
    assert run(["tunings", "create", "-m", "m", "-t", str(path)]) == 0
    assert "files delete" not in capsys.readouterr().err


def test_a_wait_for_a_rate_limit_is_told_with_its_length(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    limited = {"error": {"type": "rate_limit_error", "message": "10 creates in any minute are allowed"}}
    server.on(CREATE, Answer(limited, 429, {"retry-after": "0.2"}), Answer(example.job(), 201))
    assert run(["tunings", "create", "-m", "m", "-t", "file-1"]) == 0
    shown = capsys.readouterr()
    assert "10 creates in any minute are allowed: trying again in 1 s" in shown.err
    assert shown.out == "job-1\n"


def test_what_needs_force_can_be_forced_and_a_job_is_shown_as_it_was(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("DELETE /v1/keys.revoke/key-1", Answer({"id": "key-1", "status": "revoked"}))
    server.on("POST /v1/accounts.suspend/acct-1", Answer({"id": "acct-1", "suspended": True}))
    server.on("GET /v1/tunings.get/job-1", Answer(example.job()))
    for words, query in (
        ("keys revoke key-1", {}),
        ("keys revoke key-1 --force", {"force": "true"}),
        ("accounts suspend acct-1", {}),
        ("accounts suspend acct-1 --force", {"force": "true"}),
        ("tunings get job-1 --as-of 2026-01-01T00:00:00Z", {"as_of": "2026-01-01T00:00:00Z"}),
        ("tunings get job-1 --as-of-version 2", {"as_of_version": "2"}),
    ):
        assert run(words.split()) == 0, capsys.readouterr().err
        assert server.asked[-1].query == query


def test_a_large_upload_that_breaks_off_says_how_to_go_on(
    server: ScriptedServer,
    example: Any,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "LARGEST_IN_ONE_PIECE", 10)
    path = tmp_path / "train.jsonl"
    path.write_bytes(ROWS)
    upload = {"id": "upload-1", "bytes": len(ROWS), "status": "pending", "parts": []}
    server.on("POST /v1/uploads", Answer(upload, 201))
    server.on("GET /v1/uploads/upload-1", Answer(upload))
    server.on("POST /v1/uploads/upload-1/parts", Answer({}, 503, {"x-should-retry": "false"}))
    assert run(["files", "upload", str(path)]) == ExitCode.FAILED
    assert f"go on with: tunesmith files upload {path} --resume upload-1" in capsys.readouterr().err
    server.on("POST /v1/uploads/upload-1/parts", Answer({"id": "part-1", "bytes": len(ROWS)}, 201))
    done = upload | {"status": "completed", "file": example.file()}
    server.on("POST /v1/uploads/upload-1/complete", Answer(done))
    assert run(["files", "upload", str(path), "--resume", "upload-1"]) == 0
    assert capsys.readouterr().out == "file-1\n"


def test_a_job_is_read_and_steered(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = example.event(2, "failed", message="out of memory", level="error")
    server.on(
        "GET /v1/tunings.events/job-1",
        Answer(example.page(example.event(1, "created"))),
        example.stream(example.event(1, "created"), ends),
    )
    checkpoint = {"id": "job-1:4", "step": 8, "epoch": 1, "bytes": 3}
    server.on("GET /v1/tunings.checkpoints/job-1", Answer(example.page(checkpoint)))
    log = {"attempt": 2, "attempts": [1, 2], "text": "loss 1", "truncated": True}
    server.on("GET /v1/tunings.logs/job-1", Answer(log))
    server.on("GET /v1/tunings.metrics/job-1", Answer(example.page(example.step(1), example.step(2))))
    for verb, status in {"pause": "paused", "resume": "running", "update": "pending"}.items():
        server.on(f"POST /v1/tunings.{verb}/job-1", Answer(example.job(status=status, priority=5)))
    server.on("POST /v1/tunings.rerun/job-1", Answer(example.job(id="job-2"), 201))

    assert run(["tunings", "events", "job-1"]) == 0
    assert "created" in capsys.readouterr().out
    assert run(["tunings", "events", "job-1", "--follow", "--json"]) == 0
    assert [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()] == [
        "created",
        "failed",
    ]
    assert run(["tunings", "checkpoints", "job-1"]) == 0
    assert "job-1:4" in capsys.readouterr().out
    assert run(["tunings", "logs", "job-1", "--attempt", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "loss 1\n"
    assert "left out" in shown.err
    assert run(["tunings", "metrics", "job-1", "--points", "9", "--until-step", "5", "--json"]) == 0
    assert server.asked[-1].query == {"after_step": "0", "until_step": "5", "points": "9"}
    capsys.readouterr()
    assert run(["tunings", "pause", "job-1"]) == 0
    assert "job-1 is paused" in capsys.readouterr().err
    assert run(["tunings", "resume", "job-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    assert run(["tunings", "update", "job-1", "--priority", "5", "--metadata", "a=b"]) == 0
    assert server.asked[-1].json == {"priority": 5, "metadata": {"a": "b"}}
    assert run(["tunings", "update", "job-1"]) == ExitCode.USAGE
    capsys.readouterr()
    assert run(["tunings", "rerun", "job-1"]) == 0
    assert capsys.readouterr().out == "job-2\n"


def test_secrets_are_printed_once_and_alone_on_stdout(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    key = {"id": "key-1", "name": "ci", "scopes": ["read"], "status": "active"}
    server.on("POST /v1/keys.create", Answer(key | {"key": "sk-new"}, 201))
    server.on("POST /v1/keys.rotate/key-1", Answer(key | {"key": "sk-newer"}))
    server.on("GET /v1/keys.list", Answer(example.page(key)))
    server.on("DELETE /v1/keys.revoke/key-1", Answer(key | {"status": "revoked"}))
    server.on("POST /v1/webhooks.create", Answer({"id": "wh-1", "secret": "whsec_x"}, 201))
    assert run(["keys", "create", "ci", "--scope", "read", "--expires-in", "60"]) == 0
    assert capsys.readouterr().out == "sk-new\n"
    assert server.asked[-1].json == {"name": "ci", "scopes": ["read"], "expires_in": 60}
    server.on("POST /v1/keys.create", Answer({}, 503), Answer(key | {"key": None}, 201))
    assert run(["keys", "create", "ci"]) == ExitCode.FAILED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "got lost: tunesmith keys rotate key-1" in shown.err
    assert run(["keys", "rotate", "key-1", "--keep-seconds", "9"]) == 0
    assert capsys.readouterr().out == "sk-newer\n"
    assert run(["keys", "list"]) == 0
    assert "active" in capsys.readouterr().out
    assert run(["keys", "revoke", "key-1"]) == 0
    assert "revoked key-1" in capsys.readouterr().err
    assert run(["webhooks", "create", "https://a.example/", "--type", "tuning.failed"]) == 0
    assert capsys.readouterr().out == "whsec_x\n"


def test_accounts_are_opened_limited_and_suspended(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    account = {
        "id": "acct-1",
        "name": "team",
        "suspended": False,
        "limits": {"running_tunings": 2, "stored_bytes": None},
        "limits_in_force": {"running_tunings": 2, "stored_bytes": 0},
        "usage": {"running_tunings": 1, "stored_bytes": 77},
    }
    for route in ("POST /v1/accounts.create", "GET /v1/accounts.current", "GET /v1/accounts.get/acct-1"):
        server.on(route, Answer(account))
    for verb in ("update", "suspend", "reinstate"):
        server.on(f"POST /v1/accounts.{verb}/acct-1", Answer(account))
    server.on("GET /v1/accounts.list", Answer(example.page(account)))
    limits = ["--limit", "running_tunings=2", "--limit", "stored_bytes=default"]
    assert run(["accounts", "create", "team", *limits]) == 0
    assert capsys.readouterr().out == "acct-1\n"
    assert server.asked[0].json["limits"] == {"running_tunings": 2, "stored_bytes": None}
    for words in (["current"], ["get", "acct-1"], ["update", "acct-1", "--name", "team"]):
        assert run(["accounts", *words]) == 0
        shown = capsys.readouterr().out
        assert "unlimited" in shown
        assert "default" in shown
    assert run(["accounts", "list"]) == 0
    assert "team" in capsys.readouterr().out
    assert run(["accounts", "suspend", "acct-1"]) == 0
    assert run(["accounts", "reinstate", "acct-1"]) == 0
    assert run(["accounts", "update", "acct-1"]) == ExitCode.USAGE
    assert run(["accounts", "create", "x", "--limit", "running_tunings=lots"]) == ExitCode.USAGE


def test_webhooks_are_tested_listed_and_replayed_to_the_end(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = {"id": "wh-1", "url": "https://a.example/", "types": ["tuning.failed"], "enabled": False}
    attempt = {"number": 1, "answer": {"status": 500}, "created_at": 1_699_564_800}
    delivery = {"id": "msg-1", "type": "webhook.test", "status": "pending", "attempts": [attempt]}
    server.on("GET /v1/webhooks.list", Answer(example.page(endpoint)))
    server.on("GET /v1/webhooks.get/wh-1", Answer(endpoint))
    server.on("POST /v1/webhooks.update/wh-1", Answer(endpoint))
    server.on("POST /v1/webhooks.test/wh-1", Answer(delivery))
    server.on("GET /v1/webhooks.deliveries/wh-1", Answer(example.page(delivery)))
    server.on("DELETE /v1/webhooks.delete/wh-1", Answer({"id": "wh-1", "deleted": True}))
    server.on(
        "POST /v1/webhooks.replay/wh-1",
        Answer({"queued": 2, "has_more": True, "last_event": "job-1:5"}),
        Answer({"queued": 1, "has_more": False, "last_event": "job-1:6"}),
    )
    assert run(["webhooks", "list"]) == 0
    assert "disabled" in capsys.readouterr().out
    assert run(["webhooks", "get", "wh-1"]) == 0
    assert run(["webhooks", "update", "wh-1", "--disable"]) == 0
    assert server.asked[-1].json == {"enabled": False}
    assert run(["webhooks", "update", "wh-1"]) == ExitCode.USAGE
    assert run(["webhooks", "test", "wh-1"]) == ExitCode.FAILED
    capsys.readouterr()
    assert run(["webhooks", "deliveries", "wh-1"]) == 0
    assert "500" in capsys.readouterr().out
    assert run(["webhooks", "replay", "wh-1", "--since", "9"]) == 0
    assert "queued 3 deliveries" in capsys.readouterr().err
    assert [request.json for request in server.requests("POST /v1/webhooks.replay/wh-1")] == [
        {"since": 9},
        {"after": "job-1:5"},
    ]
    assert run(["webhooks", "replay", "wh-1"]) == ExitCode.USAGE
    assert run(["webhooks", "delete", "wh-1"]) == 0


def test_the_audit_log_is_listed_and_a_model_deleted(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"id": "audit-1", "at": 9, "action": "createKey", "outcome": "refused", "code": "missing_scope"}
    server.on("GET /v1/audit.list", Answer(example.page(entry)))
    server.on("DELETE /v1/models/ft:m::job-1", Answer({"id": "ft:m::job-1", "deleted": True}))
    assert run(["audit", "list", "--outcome", "refused", "--action", "createKey", "--limit", "5"]) == 0
    assert "missing_scope" in capsys.readouterr().out
    assert server.asked[0].query == {"limit": "5", "outcome": "refused", "action": "createKey"}
    assert run(["models", "delete", "ft:m::job-1"]) == 0
    assert "deleted ft:m::job-1" in capsys.readouterr().err


def long(prefix: str) -> str:
    return f"{prefix}-{'a' * 24}"


@pytest.mark.parametrize(
    ("words", "route", "row"),
    [
        ("tunings list", "tunings.list", {"id": long("job"), "metrics": {"progress": 0.5}}),
        (
            "models list",
            "models",
            {"id": f"ft:smollm2-135m-instruct:orders:{long('job')}", "owned_by": long("acct")},
        ),
        (
            "keys list",
            "keys.list",
            {"id": long("key"), "name": "ci", "status": "expired", "expires_at": 2_000_000_000},
        ),
        ("accounts list", "accounts.list", {"id": long("acct"), "name": "research", "suspended": True}),
        ("webhooks list", "webhooks.list", {"id": long("wh"), "enabled": False, "disabled_reason": "gone"}),
        (
            "webhooks deliveries wh-1",
            "webhooks.deliveries/wh-1",
            {
                "id": long("whd"),
                "status": "delivered",
                "type": "tuning.succeeded",
                "event": f"{long('job')}:12",
                "attempts": [{"error": "there was no answer: all attempts to connect failed"}],
            },
        ),
        (
            "tunings checkpoints job-1",
            "tunings.checkpoints/job-1",
            {"id": f"{long('job')}:12", "bytes": 123_456_789},
        ),
    ],
)
def test_on_80_columns_a_row_is_a_line_and_an_id_is_whole(
    server: ScriptedServer,
    example: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    route: str,
    row: dict[str, Any],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    every = {
        "created_at": 1_699_564_800,
        "scopes": ["read", "write", "admin"],
        "url": "https://a.example/hook",
    }
    more = {
        "step": 12_000,
        "epoch": 3,
        "attempt": 1,
        "model": "smollm2-135m-instruct",
        "types": ["tuning.failed"],
    }
    server.on(f"GET /v1/{route}", Answer(example.page({**example.job(), **every, **more, **row})))
    assert run(words.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith(row["id"])


def test_a_webhooks_test_tells_what_came_back(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    delivery: dict[str, Any] = {"id": "whd-1", "type": "webhook.test", "status": "failed"}
    answer = {"status": 500, "body": "no such\nroute"}
    for attempt, told in (
        ({"number": 1, "seconds": 0.25, "answer": answer, "created_at": 9}, "answered 500 in 0.25 s"),
        (
            {"number": 1, "seconds": 9.0, "error": "there was no answer", "created_at": 9},
            "there was no answer",
        ),
    ):
        server.on("POST /v1/webhooks.test/wh-1", Answer(delivery | {"attempts": [attempt]}))
        assert run(["webhooks", "test", "wh-1"]) == ExitCode.FAILED
        shown = capsys.readouterr().out
        assert told in shown
        assert ("no such route" in shown) == ("answer" in attempt)


def test_ids_are_completed_by_what_the_service_has(
    server: ScriptedServer,
    example: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offered(words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        monkeypatch.setenv("_TUNESMITH_COMPLETE", "complete_bash")
        with pytest.raises(SystemExit):
            run([])
        return capsys.readouterr().out.split()

    server.on("GET /v1/tunings.list", Answer(example.page(example.job(), example.job(id="job-2"))))
    server.on("GET /v1/models", Answer(example.page({"id": "m"}, {"id": "ft:m::job-1"})))
    assert offered("tunesmith tunings watch ") == ["job-1", "job-2"]
    assert offered("tunesmith tunings cancel job-2") == ["job-2"]
    assert offered("tunesmith models get ft") == ["ft:m::job-1"]
    assert offered("tunesmith files delete ") == []  # the service has no answer
    monkeypatch.delenv("TUNESMITH_API_KEY")
    assert offered("tunesmith tunings watch ") == []
