"""What an operator does, and does wrong: every answer is one sentence that says what to do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tunesmith import AsyncTuningClient, TuningClient, verify_webhook

from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.ids import derive_id
from app.domain.tunings import CreateTuning, FileRef, ModelRef, UpdateTuning
from app.log.kafka import KafkaLog
from tests.acceptance.running import Service, descendants, gone, running, server, start, wait_until
from tests.integration.api.service import MODEL, send
from tests.receiver import receiving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROW = b'{"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}\n'


def refused(*arguments: str, env: dict[str, str] | None = None) -> str:
    """What a command says that must fail: one line, and no traceback."""
    ended = server(*arguments, env=env)
    said = [line for line in ended.stderr.splitlines() if line and not line.startswith("{")]
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    assert len(said) == 1, ended.stderr
    return said[0]


def test_keys_are_made_shown_once_and_revoked(service: Service) -> None:
    assert "is open" in service.operator("accounts", "create", "team").stdout
    limited = service.operator("accounts", "limits", "team", "--running-tunings", "2").stdout
    assert "running_tunings=2" in limited
    made = service.operator("keys", "create", "--account", "team", "--name", "ci")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    key_id = next(word for word in made.stderr.split() if word.startswith("key-"))
    with TuningClient(key, base_url=service.url) as client:
        wait_until(lambda: client.models.list() is not None)
        assert list(client.tunings.list()) == []  # another account's are not its to see
    listed = service.operator("keys", "list").stdout
    assert f"{key_id}  team" in listed
    assert key not in listed
    assert service.operator("keys", "revoke", key_id, "--account", "team").returncode == 0

    def locked_out() -> bool:
        answer = httpx.get(f"{service.url}/v1/models", headers={"authorization": f"Bearer {key}"})
        return answer.status_code == 401

    wait_until(locked_out)
    gone = service.operator("keys", "revoke", "key-none", "--account", "team")
    assert gone.returncode == 1
    with TuningClient(service.key, base_url=service.url) as client:
        told = [entry for entry in client.audit.list(100) if entry.actor == "system:operator"]
    by_action = [(entry.action, entry.outcome, entry.target) for entry in told]
    assert by_action[:3] == [
        ("revokeKey", "refused", "key-none"),
        ("revokeKey", "done", key_id),
        ("createKey", "done", key_id),
    ]


@pytest.mark.parametrize(
    ("command", "shows"),
    [
        (("topics", "diff"), "all topics are as declared"),
        (("topics", "apply"), "all topics are as declared"),
        (("projections", "status"), "tunesmith.tunings.events.v1[0]  next offset"),
        (("workers", "list"), "session"),
        (("accounts", "list"), "  default          open"),
        (("log", "tail", "accounts.events", "--from-start"), "tunesmith.account.key_issued.v1"),
    ],
)
def test_a_command_attaches_to_the_running_service(
    service: Service, command: tuple[str, ...], shows: str
) -> None:
    ended = service.operator(*command)
    assert ended.returncode == 0, ended.stderr
    assert shows in ended.stdout


def test_a_drained_worker_is_shown_as_such_and_gets_work_again_once_it_is_undrained(service: Service) -> None:
    wait_until(lambda: "session" in service.operator("workers", "list").stdout)
    worker = service.operator("workers", "list").stdout.split()[0]
    drained = service.operator("workers", "drain", worker, "--wait")
    assert drained.returncode == 0, drained.stderr
    assert "drained, what it has may finish" in service.operator("workers", "list").stdout
    assert "nobody" in service.operator("workers", "drain", "nobody").stderr
    assert service.operator("workers", "undrain", worker).returncode == 0
    assert "drained" not in service.operator("workers", "list").stdout
    with TuningClient(service.key, base_url=service.url) as client:
        told = [entry for entry in client.audit.list(100) if entry.target == worker]
    assert [entry.action for entry in told] == ["undrainWorker", "drainWorker"]


def test_a_history_is_replayed_and_the_state_at_any_version_and_time(service: Service) -> None:
    issued = service.operator("log", "tail", "accounts.events", "--from-start").stdout
    id = next(word for word in issued.split() if word.startswith("acct-"))
    told = service.operator("log", "replay", id)
    assert told.returncode == 0, told.stderr
    first, second, *_ = told.stdout.splitlines()
    assert first.split()[0] == "1"
    assert "opened" in first
    assert "key_issued" in second
    assert f'"id": "{id}"' in told.stdout
    opened = json.loads(service.operator("log", "replay", id, "--version", "1", "--json").stdout)
    assert (opened["version"], opened["state"]["keys"], len(opened["events"])) == (1, [], 1)
    data = ("--data-dir", str(service.data_dir))
    assert "no event of 'job-none'" in refused("log", "replay", "job-none", *data)
    assert "there is no version 99 yet" in refused("log", "replay", id, "--version", "99", *data)
    assert "did not exist then" in refused("log", "replay", id, "--at", "2020-01-01T00:00:00Z", *data)
    assert "neither an RFC 3339 time nor Unix seconds" in refused("log", "replay", id, "--at", "now", *data)


async def test_an_endpoint_is_told_with_a_signature_of_the_installations_own_key(service: Service) -> None:
    key = service.data_dir / "installation.key"
    assert key.stat().st_mode & 0o777 == 0o600
    async with receiving() as receiver, AsyncTuningClient(service.key, base_url=service.url) as client:
        endpoint = await client.webhooks.create(receiver.url, ["tuning.cancelled"])
        assert endpoint.secret is not None
        file = await client.files.upload(ROW)
        job = await client.tunings.create("smollm2-135m-instruct", file.id)
        await client.tunings.cancel(job.id)
        [got] = await receiver.until(1, within=60.0)
        event = verify_webhook(got.body, got.headers, endpoint.secret)
        assert (event.type, event.data["type"]) == ("tuning.cancelled", "cancelled")
        assert event.data["id"].startswith(job.id)


def test_a_fresh_service_does_not_complain_of_what_it_has_yet_to_make(service: Service) -> None:
    assert "does not exist" not in service.log.read_text()


def test_a_stream_is_followed_over_a_killed_api_and_what_happened_meanwhile_comes_once(
    service: Service,
) -> None:
    log = KafkaLog(json.loads((service.data_dir / "addresses.json").read_text())["kafka"])
    id = derive_id("job", uuid4().hex)
    seen: list[str] = []

    def tell(*bodies: Any) -> None:
        async def send_all() -> None:
            for body in bodies:
                await send(log, "tunings", id, body)

        asyncio.run(send_all())

    def api() -> int:
        [found] = [one.pid for one in descendants(service) if one.cmdline()[-2:] == ["run", "api"]]
        return found

    def follow() -> None:
        with TuningClient(service.key, base_url=service.url) as client:
            seen.extend(event.id for event in client.tunings.get(id).stream_events())

    with TuningClient(service.key, base_url=service.url) as client:
        [account] = [one.id for one in client.accounts.list() if one.name == "default"]
        tell(too_large_for_any_worker(account))
        wait_until(lambda: id in [job.id for job in client.tunings.list()])
        following = threading.Thread(target=follow, daemon=True)
        following.start()
        tell(UpdateTuning(priority=1))
        before = api()
        wait_until(lambda: len(seen) == 2)
        os.kill(before, signal.SIGKILL)
        tell(*(UpdateTuning(priority=priority) for priority in (2, 3, 4)))
        wait_until(lambda: len(seen) == 5)
        assert api() != before
        assert client.tunings.cancel(id).status == "cancelled"
        following.join(60)
    assert seen == [f"{id}:{version}" for version in range(1, 7)]


def too_large_for_any_worker(account: str) -> CreateTuning:
    """A tuning to which nothing happens by itself."""
    hyperparameters = resolve({}, rows=1, context_length=2048)
    assert isinstance(hyperparameters, Hyperparameters)
    file = FileRef("file-a", "00", "files/a", 10, 1)
    return CreateTuning(account, ModelRef(MODEL, "r1"), file, None, hyperparameters, memory=2**60)


def test_a_second_up_on_the_same_data_is_refused(service: Service) -> None:
    said = refused("up", "--data-dir", str(service.data_dir), "--port", "0")
    assert str(service.data_dir) in said


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("up", "--data-dir", str(tmp_path / "data"), "--port", str(port))
    assert str(port) in said
    assert "--port" in said


def test_a_data_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    said = refused("up", "--data-dir", str(tmp_path / "thesis.txt"), "--port", "0")
    assert "thesis.txt" in said
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_role_needs_a_broker_and_a_known_name() -> None:
    assert "TUNESMITH_KAFKA" in refused("run", "api")
    assert "command-handler" in refused("run", "apj")


def test_a_broker_that_is_not_there_is_told() -> None:
    nobody = {"TUNESMITH_KAFKA": "127.0.0.1:1", "TUNESMITH_DATABASE": "postgresql://nobody@127.0.0.1:1/none"}
    assert "Kafka" in refused("run", "command-handler", env=nobody)
    assert "database" in refused("run", "api", env=nobody)


def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    assert "port" in refused("up", "--data-dir", str(tmp_path), env={"TUNESMITH_PORT": "many"})


def test_without_a_running_service_operator_commands_say_so(tmp_path: Path) -> None:
    assert "up" in refused("workers", "list", "--data-dir", str(tmp_path))


def test_up_killed_takes_everything_with_it_and_the_next_one_has_all_that_was(tmp_path: Path) -> None:
    service = start(tmp_path / "data")
    with service.process:
        with TuningClient(service.key, base_url=service.url) as client:
            file = client.files.upload(ROW)
            job = client.tunings.create("smollm2-135m-instruct", file.id)
        family = descendants(service)
        service.process.kill()
    assert gone(family, within=15.0)

    with running(tmp_path / "data") as again, TuningClient(again.key, base_url=again.url) as client:
        assert again.key == service.key
        assert client.tunings.get(job.id).status in ("pending", "running")
        assert client.tunings.cancel(job.id).status == "cancelled"
