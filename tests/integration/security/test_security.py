"""Each role does its work as its own user on the brokers, and is refused everything else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tunesmith.kafka import EventStream, StreamError

from app.domain.tunings import TUNINGS, CancelTuning
from app.embedded.ports import free_port
from app.log import acls, topics, user_admin
from app.log.acl_admin import apply, difference
from app.log.acls import Acl
from app.log.codec import command_record
from app.log.kafka import KafkaLog
from app.log.port import LogError, NotAuthorized, Record, Start, all_partitions, read_all
from tests.integration.api.service import MODEL, ROW
from tests.integration.security.conftest import Secured

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SERVING = ("command-handler", "projector", "reactor", "scheduler", "trainer-worker", "api")


@contextmanager
def serving(secured: Secured, database: str, folder: Path) -> Iterator[str]:
    """Every role as a process of its own, each as its own user; the api's address."""
    port = str(free_port())
    more = {
        "TUNESMITH_DATABASE": database,
        "TUNESMITH_DATA_DIR": str(folder / "data"),
        "TUNESMITH_PORT": port,
        "TUNESMITH_SLOTS": "0",
    }
    processes = []
    try:
        for role in SERVING:
            with (folder / f"{role}.log").open("w") as out:
                command = [sys.executable, "-m", "app.cli", "run", role]
                processes.append(
                    subprocess.Popen(command, stdout=out, stderr=out, env=secured.environment(role, **more))
                )
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=40)


def told(folder: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in folder.glob("*.log"))


def test_the_whole_path_works_with_each_role_as_its_own_user(
    secured: Secured, database: str, tmp_path: Path
) -> None:
    with serving(secured, database, tmp_path) as url:
        made = secured.command("keys", "create", TUNESMITH_DATABASE=database)
        assert made.returncode == 0, made.stderr
        headers = {"authorization": f"Bearer {made.stdout.strip()}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            deadline = time.monotonic() + 60
            while not _lists_the_model(client):
                assert time.monotonic() < deadline, told(tmp_path)
                time.sleep(0.1)
            content = {"file": ("train.jsonl", ROW * 8)}
            file = client.post("/v1/files", data={"purpose": "fine-tune"}, files=content).json()
            assert file["status"] == "processed", told(tmp_path)
            job = client.post("/v1/tunings.create", json={"model": MODEL, "training_file": file["id"]})
            assert job.status_code == 201, told(tmp_path)
            id = job.json()["id"]
            while (queue := client.get(f"/v1/tunings.get/{id}").json()["queue"]) is None:
                assert time.monotonic() < deadline, told(tmp_path)
                time.sleep(0.1)
            assert queue["position"] == 1  # scheduler to projector
            assert client.delete(f"/v1/tunings.cancel/{id}").json()["status"] == "cancelled"
        verified = secured.command("log", "verify", TUNESMITH_DATABASE=database)
        assert verified.returncode == 0, verified.stdout
    logged = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    for word in ("uthorization", '"level": "error"', '"level": "critical"'):
        assert word not in logged, told(tmp_path)


def _lists_the_model(client: httpx.Client) -> bool:
    try:
        answer = client.get("/v1/models")
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and bool(answer.json()["data"])


@pytest.mark.parametrize(
    ("role", "topic"),
    [
        ("trainer-worker", topics.events("tunings")),
        ("trainer-worker", topics.state("tunings")),
        ("trainer-worker", topics.REPLIES),
        ("trainer-worker", topics.WORK),
        ("api", topics.events("tunings")),
        ("api", topics.events("accounts")),
        ("scheduler", topics.events("tunings")),
        ("reactor", topics.commands("tunings")),
        ("projector", topics.events("tunings")),
        *(("integrator", topic.name) for topic in topics.declared("embedded")),
    ],
)
async def test_what_a_role_may_not_write_it_is_refused(secured: Secured, role: str, topic: str) -> None:
    with pytest.raises(NotAuthorized, match="the user of this role may not do that"):
        await write(secured.log(role), Record(topic, "refused", b"{}"))
    came_through = [one async for one in read_all(secured.log("operator"), topic) if one.key == "refused"]
    assert came_through == []


async def write(log: KafkaLog, record: Record) -> None:
    writer = await log.writer()  # who may write nothing at all is refused here
    try:
        await writer.send(record)
    finally:
        await writer.close()


@pytest.mark.parametrize("role", ["trainer-worker", "api", "integrator", "projector"])
async def test_only_the_command_handler_takes_a_partitions_transactional_id(
    secured: Secured, role: str
) -> None:
    with pytest.raises(NotAuthorized, match="fence tunesmith-tunings-0"):
        await secured.log(role).transactional_writer("tunesmith-tunings-0")
    writer = await secured.log("command-handler").transactional_writer("tunesmith-tunings-0")
    await writer.close()


async def test_a_trainer_reports_by_commands_and_reads_its_orders(secured: Secured) -> None:
    log = secured.log("trainer-worker")
    writer = await log.writer()
    await writer.send(
        command_record(
            TUNINGS,
            id="cmd-security",
            aggregate_id="job-none",
            actor="worker:w",
            correlation_id="r",
            source="trainer-worker",
            body=CancelTuning(),
        )
    )
    await writer.close()
    reader = await log.reader(dict.fromkeys(await all_partitions(log, topics.WORK), Start.FIRST))
    await reader.fetch(10, 0.1)
    await reader.close()


async def test_an_integrator_reads_events_and_nothing_that_is_not_meant_for_it(secured: Secured) -> None:
    access = secured.access("integrator").options()
    async with EventStream(secured.bootstrap, "accounts", follow=False, **access) as stream:
        async for event in stream:
            assert event.type in ("opened", "key_issued")
    log = secured.log("integrator")
    for topic in (topics.commands("tunings"), topics.state("accounts"), topics.WORKERS):
        with pytest.raises(LogError):
            await all_partitions(log, topic)
    wrong = access | {"sasl_plain_password": "guessed"}
    stream = EventStream(secured.bootstrap, "accounts", follow=False, **wrong)
    with pytest.raises(StreamError, match="refuse"):
        async for _ in stream:
            pass


@pytest.mark.parametrize("user", ["tunesmith-api", "somebody"])
def test_a_wrong_user_or_password_is_one_clear_sentence(secured: Secured, user: str) -> None:
    ended = secured.command(
        "topics", "diff", TUNESMITH_KAFKA_USER=user, TUNESMITH_KAFKA_PASSWORD="guessed-wrong"
    )
    [said] = [line for line in ended.stderr.splitlines() if line.startswith("tunesmith-server:")]
    assert ended.returncode == 1
    assert "does not know the user, or the password is wrong" in said
    assert "Traceback" not in ended.stderr
    assert "guessed-wrong" not in ended.stderr + ended.stdout


def test_a_password_is_asked_for_and_never_shown(secured: Secured) -> None:
    ended = secured.command("topics", "diff", TUNESMITH_KAFKA_PASSWORD="")
    assert "needs TUNESMITH_KAFKA_USER and TUNESMITH_KAFKA_PASSWORD" in ended.stderr
    shown = secured.command("settings").stdout
    assert "operator-secret" not in shown
    assert "(set)" in shown


async def test_what_differs_is_told_granted_and_withdrawn(secured: Secured) -> None:
    assert "all permissions are as declared" in secured.command("acls", "diff").stdout
    operator = secured.access("operator")
    foreign = Acl("User:tunesmith-integrator", 2, topics.events("tunings"), 3, 4)
    await apply(secured.bootstrap, [*acls.declared(), foreign], operator)
    ended = secured.command("acls", "diff")
    assert (ended.returncode, ended.stdout.strip()) == (
        1,
        "not declared: User:tunesmith-integrator may write topic tunesmith.tunings.events.v1",
    )
    assert "withdrawn" in secured.command("acls", "apply", "--prune").stdout
    found = await difference(secured.bootstrap, acls.declared(), operator)
    assert (found.missing, found.foreign) == ([], [])
    refused = secured.command("acls", "apply", role="api")
    assert refused.returncode == 1
    assert "the permissions: ClusterAuthorizationFailedError" in refused.stderr


def test_users_are_made_with_the_passwords_of_their_files(secured: Secured, tmp_path: Path) -> None:
    """Made up where there is none, for the owner's eyes; another password counts once it is applied."""
    assert secured.command("users", "diff").stdout.strip() == "all users are as declared"
    file = secured.passwords / "tunesmith-integrator"
    assert (file.stat().st_mode & 0o777, len(file.read_text().strip())) == (0o600, 43)
    file.write_text("another-password\n")
    refused = secured.command("log", "verify", role="integrator")
    assert "does not know the user, or the password is wrong" in refused.stderr
    ended = secured.command("users", "apply", "--passwords", str(secured.passwords))
    assert (ended.returncode, "password set: tunesmith-integrator" in ended.stdout) == (0, True)
    assert "another-password" not in ended.stdout + ended.stderr
    known = secured.command("users", "diff", role="integrator")
    assert "the users: ClusterAuthorizationFailedError" in known.stderr, "it is known, and may not ask that"
    file.write_text("")
    empty = secured.command("users", "apply", "--passwords", str(secured.passwords))
    file.write_text("another-password\n")
    assert (empty.returncode, "tunesmith-integrator is empty" in empty.stderr) == (1, True)


async def test_a_user_that_is_missing_and_one_that_nobody_declared_are_told(secured: Secured) -> None:
    operator = secured.access("operator")
    await user_admin.apply(secured.bootstrap, {"tunesmith-intern": "a-password"}, operator)
    await user_admin.delete(secured.bootstrap, {"tunesmith-api"}, operator)
    try:
        ended = secured.command("users", "diff")
        assert (ended.returncode, ended.stdout.splitlines()) == (
            1,
            ["missing: tunesmith-api", "not declared: tunesmith-intern"],
        )
        ended = secured.command("users", "apply", "--passwords", str(secured.passwords), "--prune")
        assert ended.returncode == 0, ended.stderr
        assert {"made: tunesmith-api", "deleted: tunesmith-intern"} <= set(ended.stdout.splitlines())
    finally:
        await user_admin.delete(secured.bootstrap, {"tunesmith-intern"}, operator)


async def test_without_an_authorizer_it_says_so(topics: str) -> None:
    with pytest.raises(LogError, match="have no authorizer"):
        await difference(topics, acls.declared())
