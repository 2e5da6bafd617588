"""What operators and their machines ask, without a key."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from app.domain.accounts import OpenAccount
from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    EpochResult,
    Failure,
    ReportEpoch,
    ReportFailed,
    ReportLost,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
)
from app.log import topics
from app.log.metrics import Phase, Step, metric_record
from app.log.queue import QueuePlace, queue_record
from app.log.workers import Device, Heartbeat, Occupant, Slot, heartbeat_record
from tests.integration.api.service import MODEL, Running, until, uploaded


@pytest.fixture
def nobody(service: Running) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url)


async def test_health_names_each_dependency_and_asks_for_no_key(
    service: Running, nobody: httpx.AsyncClient
) -> None:
    async with nobody:
        without = await nobody.get("/health")
        assert (without.status_code, without.json()["gpu"]) == (503, "error: no trainer worker lives")
        writer = await service.log.writer()
        beat = Heartbeat("w", "s", 1, (Slot(0, Device("cpu", "cpu", 1)),))

        async def healthy() -> bool:
            await writer.send(heartbeat_record(beat))
            return (await nobody.get("/health")).status_code == 200

        await until(healthy)
        found = (await nobody.get("/health")).json()
    names = ("api", "database", "kafka", "storage", "gpu")
    assert {name: found[name] for name in names} == dict.fromkeys(names, "ok")
    assert found["devices"] == ["cpu"]
    assert found["device_details"] == [
        {"kind": "cpu", "name": "cpu", "memory": 1, "driver": None, "cuda": None, "slots": 1, "free": 1}
    ]


async def test_liveness_openapi_and_docs_ask_for_no_key(nobody: httpx.AsyncClient) -> None:
    async with nobody:
        assert (await nobody.get("/livez")).json() == {"api": "ok"}
        document = (await nobody.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.")
        assert "/v1/tunings.create" in document["paths"]
        page = await nobody.get("/docs")
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
        assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        # All that the page loads is here, and a browser that has it asks no more than whether it is the same.
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(loaded) == 4
        for path in ("openapi.json", *loaded):
            assert not urlsplit(path).netloc
            file = await nobody.get(f"/{path}")
            assert (file.status_code, bool(file.content)) == (200, True), path
            again = await nobody.get(f"/{path}", headers={"if-none-match": file.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert (await nobody.get("/docs/nothing.js")).status_code == 404
        assert "django" not in sys.modules


async def test_the_three_metrics_of_jobs_come_from_the_events(
    service: Running, client: httpx.AsyncClient
) -> None:
    body = {"model": MODEL, "training_file": await uploaded(client)}
    waiting, ending = [(await client.post("/v1/tunings.create", json=body)).json()["id"] for _ in range(2)]
    succeeded = await a_run(service, ending)
    text = (await client.get("/metrics")).text
    user = succeeded["user"]
    assert f'tuning_job_created_total{{model="{MODEL}",user_id="{user}"}} 2.0' in text
    assert f'tuning_job_status{{job_id="{waiting}",status="pending"}} 1.0' in text
    assert f'job_id="{ending}"' not in text
    assert f'tuning_job_duration_seconds_count{{model="{MODEL}",status="succeeded"}} 1.0' in text
    assert 'tunesmith_http_request_seconds_count{method="POST",status="201"}' in text


async def test_the_figures_of_each_role_come_from_the_log_and_the_read_model(
    service: Running, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.lag.FRESH_SECONDS", 0.0)
    body = {"model": MODEL, "training_file": await uploaded(client)}
    id = (await client.post("/v1/tunings.create", json=body)).json()["id"]
    projector, handler = ("projector", "read_model"), ("command-handler", "decisions")
    roles = projector, ("reactor", "check_files"), handler

    async def figures() -> dict[str, float]:
        lines = (await client.get("/metrics")).text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    def lag(found: dict[str, float], role: tuple[str, str], kind: str = "records") -> dict[str, float]:
        begins = f'tunesmith_lag_{kind}{{consumer="{role[1]}",role="{role[0]}",topic="'
        return {name.removeprefix(begins)[:-2]: at for name, at in found.items() if name.startswith(begins)}

    async def caught_up() -> bool:
        found = await figures()
        return all(lag(found, role) and not any(lag(found, role).values()) for role in roles)

    await until(caught_up)
    found = await figures()
    streams = ("tunings", "files", "models", "accounts")
    assert set(lag(found, projector)) == {*map(topics.events, streams), topics.METRICS, topics.QUEUE}
    assert set(lag(found, handler)) == set(map(topics.commands, streams))
    assert not any(lag(found, projector, "seconds").values())
    assert found["tunesmith_tunings_waiting"] == 1
    assert found['tunesmith_command_seconds_count{outcome="accepted",stream="tunings"}'] >= 1
    assert found['tunesmith_visible_seconds_count{shown="yes"}'] >= 1

    for command in (
        AssignAttempt(Attempt(1, "w", "s", 0)),
        ReportStarted(1, "s"),
        ReportLost(1, "s", "child_died"),
        AssignAttempt(Attempt(2, "w", "s", 0)),
        ReportFailed(2, "s", Failure("out_of_memory", "user", "too large")),
    ):
        await service.send("tunings", id, command, actor="worker:w")
    for name, status, seconds in (("a", "pending", -60), ("b", "pending", 3600), ("c", "failed", 0)):
        await service.sql(
            "INSERT INTO ops.deliveries (id, webhook_id, event_id, type, payload, status, next_at) "
            "VALUES ($1, 'wh-nobody', $1, 't', '', $2, now() + make_interval(secs => $3))",
            name,
            status,
            seconds,
        )
    writer, begun = await service.log.writer(), 0

    async def told() -> bool:
        nonlocal begun
        begun += 1  # a worker that is started over and over
        slots = (Slot(0, Device("cuda", "a", 1), Occupant("job", 1)), Slot(1, Device("cuda", "b", 1)))
        await writer.send(heartbeat_record(Heartbeat("w", f"s{begun}", 1, slots)))
        found = await figures()
        return (
            found.get('tunesmith_attempts_lost_total{reason="child_died"}') == 1
            and found.get('tunesmith_tunings_failed_total{blame="user",code="out_of_memory"}') == 1
            and found.get('tunesmith_worker_restarts_total{worker="w"}', 0) >= 1
        )

    await until(told)
    found = await figures()
    states = [found[f'tunesmith_webhook_deliveries{{state="{one}"}}'] for one in ("due", "waiting", "failed")]
    assert states == [1, 1, 1]
    assert 60 <= found["tunesmith_webhook_overdue_seconds"] < 3600
    assert found["tunesmith_workers"] == 1
    assert found['tunesmith_worker_slots{device="cuda",state="busy"}'] == 1
    assert found['tunesmith_worker_slots{device="cuda",state="free"}'] == 1

    holder = await asyncpg.connect(service.dsn)
    try:
        async with holder.transaction():  # the projector cannot go on
            await holder.execute("SELECT FROM read.checkpoints FOR UPDATE")
            for number in range(3):
                await service.send("accounts", f"acct-{number}", OpenAccount("one more"))

            async def behind() -> bool:
                return lag(await figures(), projector)[topics.events("accounts")] == 3

            await until(behind)
            assert lag(await figures(), projector, "seconds")[topics.events("accounts")] > 0
    finally:
        await holder.close()
    await until(caught_up)


async def test_a_run_is_followed_through_its_phases_to_its_end(
    service: Running, client: httpx.AsyncClient
) -> None:
    body = {"model": MODEL, "training_file": await uploaded(client), "hyperparameters": {"epochs": 1}}
    id = (await client.post("/v1/tunings.create", json=body)).json()["id"]
    writer = await service.log.writer()

    async def shown(phase: str | None, status: str) -> dict[str, object]:
        async def is_so() -> dict[str, object] | None:
            job = (await client.get(f"/v1/tunings.get/{id}")).json()
            return job if (job["phase"], job["status"]) == (phase, status) else None

        return dict(await until(is_so, 5))

    await writer.send(queue_record(id, QueuePlace(3, datetime(2030, 1, 2, tzinfo=UTC))))

    async def queued() -> bool:
        queue = (await client.get(f"/v1/tunings.get/{id}")).json()["queue"]
        return bool(queue == {"position": 3, "estimated_start": 1_893_542_400})

    await until(queued, 5)
    await service.send("tunings", id, AssignAttempt(Attempt(1, "w", "s", 0)), actor="worker:w")
    assert (await shown("assigned", "pending"))["queue"] is None
    await service.send("tunings", id, ReportStarted(1, "s"), actor="worker:w")
    await shown("loading", "running")
    await writer.send(metric_record(id, Phase(1, "training"), worker="w"))
    assert (await shown("training", "running"))["metrics"] is None
    step = Step(1, 2, 0.5, 1.25, 1e-4, 0.5, 100, 50.0, 2.0, 4, 1, 0)
    await writer.send(metric_record(id, step, worker="w"))

    async def stepped() -> bool:
        metrics = (await client.get(f"/v1/tunings.get/{id}")).json()["metrics"]
        return bool(metrics and metrics["step"] == 2)

    await until(stepped, 5)
    job = (await client.get(f"/v1/tunings.get/{id}")).json()
    assert (job["metrics"]["train_loss"], job["metrics"]["progress"], job["attempt"]) == (1.25, 0.5, 1)
    curve = (await client.get(f"/v1/tunings.metrics/{id}")).json()
    assert [(point["step"], point["loss"]) for point in curve["data"]] == [(2, 1.25)]
    assert (await client.get(f"/v1/tunings.metrics/{id}", params={"after_step": 2})).json()["data"] == []
    for bad in ("-1", "x", "9" * 5000):
        assert (await client.get(f"/v1/tunings.metrics/{id}", params={"after_step": bad})).status_code == 400

    key = f"tunings/{id}/1/adapter/adapter_config.json"
    await service.store.put_bytes(key, b"{}")
    result = ResultFile("file-result", "adapter/adapter_config.json", 2, "x", key)
    epoch = EpochResult(1, 4, 1.0, 1.5)
    await service.send("tunings", id, ReportEpoch(1, "s", epoch), actor="worker:w")
    await service.send("tunings", id, ReportSucceeded(1, "s", 1.0, 1.5, 100, (result,)), actor="worker:w")
    job = await shown(None, "succeeded")
    assert job["fine_tuned_model"] == f"ft:{MODEL}::{id}"
    assert job["result_files"] == ["file-result"]
    models = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
    assert job["fine_tuned_model"] in models
    model = (await client.get(f"/v1/models/{job['fine_tuned_model']}")).json()
    assert (model["base_model"], model["tuning"]) == (MODEL, id)
    assert (await client.get("/v1/files/file-result/content")).content == b"{}"
    assert (await client.get("/v1/files/file-result")).json()["purpose"] == "fine-tune-results"
    assert (await client.delete("/v1/files/file-result")).status_code == 400
    archive = await client.get(f"/v1/tunings.adapter/{id}")
    assert names_in(archive.content) == ["adapter_config.json"]


def names_in(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return opened.getnames()


async def a_run(service: Running, id: str) -> dict[str, str]:
    """Take a tuning through to `succeeded`; who it belongs to."""
    for command in (
        AssignAttempt(Attempt(1, "w", "s", 0)),
        ReportStarted(1, "s"),
        ReportSucceeded(1, "s", 1.0, None, 100, ()),
    ):
        await service.send("tunings", id, command, actor="worker:w")

    async def ended() -> list[object]:
        return list(
            await service.sql("SELECT account_id FROM tunings WHERE id = $1 AND status = 'succeeded'", id)
        )

    [row] = await until(ended)
    return {"user": row["account_id"]}
