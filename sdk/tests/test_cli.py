"""The command `tunesmith`, against a real HTTP server."""

from __future__ import annotations

import io
import json
import re
import signal
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Answer, ScriptedServer

from tunesmith.cli.app import app, run
from tunesmith.cli.config import Login, login_path, read_login, write_login
from tunesmith.cli.exit_codes import MEANINGS, ExitCode

MODELS = "GET /v1/models"
JOB = "GET /v1/tunings.get/job-1"
EVENTS = "GET /v1/tunings.events/job-1"
METRICS = "GET /v1/tunings.metrics/job-1"
CREATE = "POST /v1/tunings.create"
ROWS = b'{"messages": []}\n'


@pytest.fixture
def _connected(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "sk-test")
    monkeypatch.setenv("TUNESMITH_BASE_URL", server.url)
    monkeypatch.setenv("COLUMNS", "200")


pytestmark = pytest.mark.usefixtures("_connected")


def every_command() -> list[list[str]]:
    groups: list[Any] = [([], app)]
    groups += [([group.name], group.typer_instance) for group in app.registered_groups]
    commands: list[list[str]] = []
    for names, group in groups:
        commands += [[*names, command.name] for command in group.registered_commands]
    return commands


def test_every_command_helps_with_an_example_and_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    commands = every_command()
    assert len(commands) >= 48
    for words in commands:
        assert run([*words, "--help"]) == 0
        shown = capsys.readouterr().out
        assert re.search(r"(E|For e)xample:", shown), words
        assert f"tunesmith {' '.join(words)}" in shown, words
        assert "--json" in shown, words


def test_the_help_documents_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert run(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for code, meaning in MEANINGS.items():
        assert f"{code.value}: {meaning}" in shown


def test_the_readme_documents_every_exit_code() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in readme


@pytest.mark.parametrize(
    ("status", "code"), [(401, 3), (403, 3), (404, 4), (400, 1), (409, 1), (429, 1), (503, 1)]
)
def test_an_error_is_one_line_on_stderr_and_an_exit_code(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    server.on(JOB, example.error(status, "some_code", "what is\nwrong", headers={"x-should-retry": "false"}))
    assert run(["tunings", "get", "job-1"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "tunesmith: what is wrong (some_code, request req-9)\n"


def test_with_json_an_error_is_json_too(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(code: ExitCode, *arguments: str) -> dict[str, Any]:
        assert run([*arguments, "--json"]) == code
        shown = capsys.readouterr()
        assert shown.out == ""
        (line,) = shown.err.splitlines()
        return dict(json.loads(line)["error"])

    monkeypatch.setattr("tunesmith._retry.RetryRules.delay", lambda *_: 0.0)
    faults = [{"param": "rank", "message": "rank is 0"}]
    server.on(JOB, example.error(404, "not_found", "no job", param="id", errors=faults))
    assert told(ExitCode.NOT_FOUND, "tunings", "get", "job-1") == {
        "type": "invalid_request_error",
        "message": "no job",
        "code": "not_found",
        "param": "id",
        "errors": faults,
        "status_code": 404,
        "request_id": "req-9",
    }
    assert told(ExitCode.USAGE, "tunings", "get")["type"] == "usage_error"
    gone = told(ExitCode.NO_ANSWER, "--base-url", "http://127.0.0.1:1", "models", "list")
    assert (gone["type"], gone["status_code"]) == ("connection_error", None)
    server.on(JOB, Answer(b"<h1>a proxy</h1>", 500))
    assert told(ExitCode.FAILED, "tunings", "get", "job-1")["type"] == "api_error"


def test_all_faults_of_a_request_are_told(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [{"param": "rank", "message": "rank is 0"}, {"param": "epochs", "message": "epochs is -1"}]
    server.on(CREATE, example.error(400, "invalid_value", "rank is 0", errors=faults))
    assert run(["tunings", "create", "-m", "m", "-t", "file-1", "-H", "rank=0", "-H", "epochs=-1"]) == 1
    assert "rank is 0; epochs is -1 (invalid_value" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["tunings", "create"],
        ["tunings", "create", "-m", "m", "-t", "no-such-path"],
        ["tunings", "create", "-m", "m", "-t", "file-1", "-H", "rank"],
        ["tunings", "get"],
        ["tunings", "gett", "job-1"],
        ["--colour", "models", "list"],
        ["files", "upload", "no-such-path"],
        ["--base-url", "gpu-box", "models", "list"],
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(arguments) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("tunesmith: ")
    assert shown.err.count("\n") == 1


def test_no_server_is_code_5(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith._retry.RetryRules.delay", lambda *_: 0.0)
    assert run(["--base-url", "http://127.0.0.1:1", "models", "list"]) == ExitCode.NO_ANSWER
    assert "Failed to connect to API at http://127.0.0.1:1" in capsys.readouterr().err


def test_login_stores_what_the_service_took_for_this_user_alone(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNESMITH_API_KEY")
    monkeypatch.delenv("TUNESMITH_BASE_URL")
    server.on(MODELS, example.error(401, "invalid_api_key", "not known"), Answer(example.page({"id": "m"})))
    login = ["login", "--base-url", server.url + "/", "--api-key", "sk-mine"]
    assert run(login) == ExitCode.NOT_ALLOWED
    assert not login_path().exists()
    assert run(login) == 0
    assert stat.S_IMODE(login_path().stat().st_mode) == 0o600
    assert read_login(login_path()) == Login(server.url, "sk-mine")
    assert "sk-mine" not in "".join(capsys.readouterr())
    assert run(["models", "list", "--json"]) == 0
    assert server.asked[-1].headers["authorization"] == "Bearer sk-mine"
    assert run(["logout"]) == 0
    assert run(["models", "list"]) == ExitCode.NOT_ALLOWED
    assert "TUNESMITH_API_KEY" in capsys.readouterr().err


def test_a_stored_key_is_never_sent_to_another_service(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNESMITH_API_KEY")
    write_login(login_path(), Login("http://gpu-box:8000", "sk-mine"))
    assert run(["models", "list"]) == ExitCode.NOT_ALLOWED
    assert run(["--base-url", server.url, "models", "list"]) == ExitCode.NOT_ALLOWED
    assert server.asked == []


def test_a_broken_login_file_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    login_path().parent.mkdir(parents=True)
    login_path().write_text("{")
    assert run(["models", "list"]) == ExitCode.USAGE
    assert "run `tunesmith login` again" in capsys.readouterr().err


def test_uploads_print_ids_and_faulty_files_are_code_7(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROWS)
    bad = example.file(id="file-2", status="error", status_details="line 1: no JSON")
    server.on("POST /v1/files", Answer(example.file(status="uploaded"), 201), Answer(bad, 201))
    server.on("GET /v1/files/file-1", Answer(example.file()))
    path = str(tmp_path / "a.jsonl")
    assert run(["files", "upload", path, path]) == ExitCode.FILE_FAULTY
    shown = capsys.readouterr()
    assert shown.out == "file-1\nfile-2\n"
    assert "train.jsonl is error: line 1: no JSON" in shown.err
    assert ROWS in server.asked[0].body


def test_files_are_listed_checked_fetched_and_deleted(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.on("GET /v1/files", Answer(example.page(example.file(), more=True, last_id="file-1")))
    server.on("GET /v1/files/file-1", Answer(example.file(status="error")))
    fault = {
        "line": 3,
        "code": "bad_role",
        "pointer": "/messages/0/role",
        "message": "no such role",
        "fix": "user",
    }
    check = {"id": "file-1", "object": "file.check", "status": "error", "faults": [fault], "fault_count": 3}
    check |= {"warnings": [{"line": 8, "code": "duplicate_row"}], "warning_count": 1}
    server.on("GET /v1/files/file-1/check", Answer(check))
    server.on("GET /v1/files/file-1/content", Answer(ROWS))
    server.on("DELETE /v1/files/file-1", Answer({"id": "file-1", "object": "file", "deleted": True}))
    assert run(["files", "list"]) == 0
    shown = capsys.readouterr()
    assert "file-1" in shown.out
    assert "--after file-1" in shown.err
    assert run(["files", "check", "file-1"]) == ExitCode.FILE_FAULTY
    shown = capsys.readouterr()
    for words in ("3", "bad_role", "/messages/0/role", "no such role", "user", "and 2 more", "duplicate_row"):
        assert words in shown.out
    assert run(["files", "check", "file-1", "--json"]) == ExitCode.FILE_FAULTY
    assert json.loads(capsys.readouterr().out) == check
    assert run(["files", "get", "file-1", "-o", str(tmp_path / "rows")]) == 0
    assert (tmp_path / "rows").read_bytes() == ROWS
    assert run(["files", "delete", "file-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deleted"] is True


def test_a_check_shows_every_page_of_faults(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def page(line: int, *, more: bool) -> Answer:
        told = {"id": "file-1", "object": "file.check", "status": "error", "fault_count": 2}
        return Answer(told | {"faults": [{"line": line, "code": "not_json"}], "has_more": more})

    server.on("GET /v1/files/file-1", Answer(example.file(status="error")))
    server.on("GET /v1/files/file-1/check", page(1, more=True), page(1001, more=False))
    assert run(["files", "check", "file-1", "--json"]) == ExitCode.FILE_FAULTY
    found = json.loads(capsys.readouterr().out)
    assert [fault["line"] for fault in found["faults"]] == [1, 1001]
    assert found["has_more"] is False


def test_create_uploads_paths_and_sends_typed_hyperparameters(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(ROWS)
    server.on("POST /v1/files", Answer(example.file(id="file-9"), 201))
    server.on(CREATE, Answer(example.job(), 201))
    arguments = ["-t", str(path), "-v", "file-2", "--suffix", "s", "--seed", "3", "--metadata", "team=a"]
    for pair in ("rank=8", "learning_rate=2e-4", "use_quantization=true", "batch_size=auto"):
        arguments += ["-H", pair]
    assert run(["tunings", "create", "-m", "m", *arguments]) == 0
    assert capsys.readouterr().out == "job-1\n"
    assert server.requests(CREATE)[0].json == {
        "model": "m",
        "training_file": "file-9",
        "validation_file": "file-2",
        "hyperparameters": {
            "rank": 8,
            "learning_rate": 2e-4,
            "use_quantization": True,
            "batch_size": "auto",
        },
        "suffix": "s",
        "seed": 3,
        "metadata": {"team": "a"},
    }


def test_a_faulty_training_file_creates_no_job(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(ROWS)
    server.on("POST /v1/files", Answer(example.file(status="error", status_details="line 2: bad"), 201))
    assert run(["tunings", "create", "-m", "m", "-t", str(path)]) == ExitCode.FILE_FAULTY
    assert server.requests(CREATE) == []
    assert "line 2: bad" in capsys.readouterr().err


@pytest.mark.parametrize(("end", "code"), [("succeeded", 0), ("failed", 6), ("cancelled", 6)])
def test_create_and_watch_ends_as_the_job_does(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], end: str, code: int
) -> None:
    server.on(CREATE, Answer(example.job(), 201))
    server.on(JOB, Answer(example.job(status=end, finished_at=9, fine_tuned_model="ft:m::job-1")))
    server.on("GET /v1/tunings.metrics/job-1", Answer(example.page(example.step(1))))
    assert run(["tunings", "create", "-m", "m", "-t", "file-1", "--watch"]) == code
    shown = capsys.readouterr()
    assert end in shown.out
    assert ("ft:m::job-1" in shown.err) == (end == "succeeded")


def test_watch_as_json_is_a_line_per_update(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on(JOB, Answer(example.job(status="succeeded", finished_at=9)))
    server.on("GET /v1/tunings.metrics/job-1", Answer(example.page(example.step(1), example.step(2))))
    assert run(["tunings", "watch", "job-1", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    update = json.loads(line)
    assert update["job"]["status"] == "succeeded"
    assert [step["step"] for step in update["steps"]] == [1, 2]


def test_interrupting_a_watch_leaves_the_job_alone_and_a_later_one_goes_on(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on(JOB, Answer(example.job(status="running", phase="training", attempt=1)))
    server.on(METRICS, Answer(example.page(example.step(1))))
    server.on(EVENTS, example.stream(example.event(1, "created"), example.step(2)))
    code = "import sys; from tunesmith.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "tunings", "watch", "job-1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            assert "running" in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            _, told = watching.communicate(timeout=60)
        finally:
            watching.kill()
    assert watching.returncode == ExitCode.INTERRUPTED
    assert told == "stopped watching; the job goes on: tunesmith tunings watch job-1\n"
    assert {request.method for request in server.asked} == {"GET"}
    server.on(JOB, Answer(example.job(status="succeeded", finished_at=9)))
    server.on(METRICS, Answer(example.page(example.step(1), example.step(2), example.step(3))))
    assert run(["tunings", "watch", "job-1", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert [step["step"] for step in json.loads(line)["steps"]] == [1, 2, 3]


def test_jobs_are_listed_shown_measured_cancelled_and_downloaded(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.on("GET /v1/tunings.list", Answer(example.page(example.job(id="job-2"), example.job())))
    server.on(JOB, Answer(example.job(metadata={"note": "[bold]x[/bold]"})))
    server.on("GET /v1/tunings.metrics/job-1", Answer(example.page(*(example.step(n) for n in (1, 2, 3)))))
    server.on("DELETE /v1/tunings.cancel/job-1", Answer(example.job(status="cancelled")))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as writer:
        writer.addfile(tarfile.TarInfo("adapter_config.json"))
    server.on("GET /v1/tunings.adapter/job-1", Answer(packed.getvalue()))

    assert run(["tunings", "list", "--status", "pending", "--limit", "2", "--metadata", "a=b"]) == 0
    assert server.asked[-1].query == {"limit": "2", "status": "pending", "metadata[a]": "b"}
    assert "job-2" in capsys.readouterr().out
    assert run(["tunings", "list", "--json"]) == 0
    assert [job["id"] for job in json.loads(capsys.readouterr().out)] == ["job-2", "job-1"]
    assert run(["tunings", "get", "job-1"]) == 0
    assert "note=[bold]x[/bold]" in capsys.readouterr().out
    assert run(["tunings", "metrics", "job-1"]) == 0
    shown = capsys.readouterr().out
    assert "1.5" in shown
    assert "3 ┤" in shown
    assert run(["tunings", "cancel", "job-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "cancelled"
    assert run(["tunings", "download", "job-1", str(tmp_path / "adapter")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'adapter'}\n"
    assert (tmp_path / "adapter" / "adapter_config.json").exists()


def test_health_is_code_1_when_something_is_down(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET /health", Answer({"api": "ok"}), Answer({"api": "ok", "kafka": "error: gone"}, 503))
    assert run(["health"]) == 0
    assert run(["health"]) == 1
    assert "error: gone" in capsys.readouterr().out


def test_models_are_listed_and_shown(
    server: ScriptedServer, example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on(MODELS, Answer(example.page({"id": "m", "owned_by": "tunesmith", "context_length": 8192})))
    server.on("GET /v1/models/m", Answer({"id": "m", "context_length": 8192}))
    assert run(["models", "list"]) == 0
    assert run(["models", "get", "m"]) == 0
    assert capsys.readouterr().out.count("8192") == 2


def test_the_installed_command_runs_and_its_version_is_the_packages() -> None:
    from tunesmith import __version__

    code = "import sys; from tunesmith.cli import main; sys.argv[1:] = ['--version']; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == f"tunesmith {__version__}\n"


def test_without_the_extra_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from tunesmith.cli import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr == "tunesmith: the command line is not installed: pip install 'tunesmith[cli]'\n"
