"""The main job as a user does it: one service, one tuning, everything that can be asked about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tunesmith import InvalidRequestError, TuningClient, TuningJob

from tests.acceptance.running import Service, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "order_mails"
MODEL = "smollm2-135m-instruct"
QUICK = {"rank": 4, "epochs": 1, "batch_size": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def tuned(service: Service, tmp_path_factory: pytest.TempPathFactory) -> tuple[TuningJob, Path, list[str]]:
    """A QLoRA tuning of eight rows, watched to its end, its adapter's folder, and the phases seen."""
    folder = tmp_path_factory.mktemp("user")
    for name, rows in (("train", 8), ("validation", 2)):
        lines = (EXAMPLE / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(lines[:rows]))
    with TuningClient(service.key, base_url=service.url) as client:
        training = client.files.upload(folder / "train.jsonl")
        validation = client.files.upload(folder / "validation.jsonl")
        assert (training.status, validation.status) == ("processed", "processed")
        job = client.tunings.create(
            MODEL,
            training.id,
            QUICK | {"use_quantization": True},
            validation_file=validation.id,
            suffix="acceptance",
            metadata={"team": "mails"},
            seed=11,
        )
        waiting = client.tunings.create(MODEL, training.id, QUICK)
        phases: list[str] = []
        for update in client.tunings.watch(job.id, 0.1):
            job = update.job
            if job.phase is not None and job.phase not in phases:
                phases.append(job.phase)
            if job.status == "running":
                queue = client.tunings.get(waiting.id).queue
                assert queue is not None
                assert queue.position == 1
        assert client.tunings.cancel(waiting.id).status == "cancelled"
        assert job.status == "succeeded", job.error
        return job, Path(job.download_adapter(folder / "adapter")), phases


def test_the_job_tells_what_came_of_it(tuned: tuple[TuningJob, Path, list[str]]) -> None:
    job, _, phases = tuned
    assert job.fine_tuned_model == f"ft:{MODEL}:acceptance:{job.id}"
    assert job.metadata == {"team": "mails"}
    assert job.seed == 11
    assert job.metrics is not None
    assert job.metrics.progress == 1.0
    assert job.metrics.eval_loss is not None
    assert {"loading", "training"} <= set(phases)
    assert job.memory is not None
    assert job.memory.estimated is not None
    assert job.memory.peak is not None
    assert 0.7 < job.memory.estimated / job.memory.peak < 1.4


def test_the_adapter_is_one_for_stock_peft(tuned: tuple[TuningJob, Path, list[str]]) -> None:
    _, adapter, _ = tuned
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["base_model_name_or_path"]) == ("LORA", 4, MODEL)
    assert (adapter / "adapter_model.safetensors").stat().st_size > 1_000_000


def test_the_tuned_model_is_listed_beside_its_base(
    service: Service, tuned: tuple[TuningJob, Path, list[str]]
) -> None:
    with TuningClient(service.key, base_url=service.url) as client:
        assert {MODEL, tuned[0].fine_tuned_model} <= {model.id for model in client.models.list()}
        rows = client.tunings.examples(tuned[0].id)
        assert (rows.looked_at, rows.rows) == (8, 8)


async def test_a_plain_consumer_finds_the_whole_life_of_the_job_on_the_log(
    service: Service, tuned: tuple[TuningJob, Path, list[str]]
) -> None:
    bootstrap = json.loads((service.data_dir / "addresses.json").read_text())["kafka"]
    events = TopicPartition("tunesmith.tunings.events.v1", 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        consumer.assign([events])
        end = (await consumer.end_offsets([events]))[events]
        found = []
        while await consumer.position(events) < end:
            found += (await consumer.getmany(events, timeout_ms=500)).get(events, [])
    finally:
        await consumer.stop()
    headers = [dict(record.headers) for record in found if record.key == tuned[0].id.encode()]
    assert [one["ce_type"].decode().split(".")[2] for one in headers] == [
        "created",
        "dispatched",
        "started",
        "epoch_completed",
        "succeeded",
    ]
    assert [one["ce_sequence"] for one in headers] == [b"1", b"2", b"3", b"4", b"5"]
    assert len({one["ce_chain"] for one in headers}) == 5


def test_the_job_is_replayed_as_it_was_when_each_of_its_events_came(
    service: Service, tuned: tuple[TuningJob, Path, list[str]]
) -> None:
    def replayed(*options: str) -> Any:
        ended = service.operator("log", "replay", tuned[0].id, "--json", *options)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    events = replayed()["events"]
    then = [replayed("--at", event["at"]) for event in events]
    assert [one["version"] for one in then] == [1, 2, 3, 4, 5]
    assert [one["state"]["status"] for one in then] == [
        "pending",
        "pending",
        "running",
        "running",
        "succeeded",
    ]
    assert [len(one["events"]) for one in then] == [1, 2, 3, 4, 5]


def test_the_curve_has_every_step(service: Service, tuned: tuple[TuningJob, Path, list[str]]) -> None:
    with TuningClient(service.key, base_url=service.url) as client:
        assert [step.step for step in client.tunings.metrics(tuned[0].id).iter()] == [1, 2, 3, 4]


def test_every_process_tells_the_same_metrics_from_the_events(
    service: Service, tuned: tuple[TuningJob, Path, list[str]]
) -> None:
    text = httpx.get(f"{service.url}/metrics").text
    account = next(line for line in text.splitlines() if line.startswith("tuning_job_created_total{"))
    assert f'model="{MODEL}"' in account
    assert 'user_id="acct-' in account
    assert f'tuning_job_duration_seconds_count{{model="{MODEL}",status="succeeded"}} 1.0' in text
    assert f'job_id="{tuned[0].id}"' not in text  # it has ended

    def caught_up() -> bool:
        lines = httpx.get(f"{service.url}/metrics").text.splitlines()
        lag = [line for line in lines if line.startswith("tunesmith_lag_records{")]
        roles = {role for role in ("projector", "reactor", "command-handler") if f'role="{role}"' in str(lag)}
        return len(roles) == 3 and all(line.endswith(" 0.0") for line in lag)

    wait_until(caught_up)


def test_health_is_good_and_names_the_devices(service: Service) -> None:
    def healthy() -> bool:
        answer = httpx.get(f"{service.url}/health")
        return answer.status_code == 200 and answer.json()["devices"] == ["cpu"]

    wait_until(healthy)


def test_all_faults_of_a_request_come_at_once(service: Service) -> None:
    with TuningClient(service.key, base_url=service.url) as client:
        with pytest.raises(InvalidRequestError) as raised:
            client.tunings.create("no-such-model", "file-nothing", {"rank": 0, "colour": "red"})
        assert raised.value.status_code == 400
        params = {fault["param"] for fault in raised.value.errors}
        assert {"model", "training_file", "hyperparameters.rank", "hyperparameters.colour"} <= params


def test_the_log_proves_to_be_whole(service: Service, tuned: tuple[TuningJob, Path, list[str]]) -> None:
    verified = service.operator("log", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "the log is whole, and the read model is what it makes" in verified.stdout


def test_the_read_model_is_built_again_from_the_log(
    service: Service, tuned: tuple[TuningJob, Path, list[str]]
) -> None:
    with TuningClient(service.key, base_url=service.url) as client:
        before = [(job.id, job.status, job.version, job.fine_tuned_model) for job in client.tunings.list()]
        steps = len(client.tunings.metrics(tuned[0].id))
        rebuilt = service.operator("projections", "rebuild")
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert "serves now" in rebuilt.stdout
        after = [(job.id, job.status, job.version, job.fine_tuned_model) for job in client.tunings.list()]
        assert after == before
        assert len(client.tunings.metrics(tuned[0].id)) == steps


def test_the_log_carries_the_ids_of_job_attempt_command_and_request(
    service: Service, tuned: tuple[TuningJob, Path, list[str]]
) -> None:
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    created = next(one for one in lines if one["event"] == "tuning_created" and one["id"] == tuned[0].id)
    assert {"timestamp", "level", "command_id", "request_id", "actor"} <= set(created)
    asked = next(one for one in lines if one["event"] == "job_created" and one["job_id"] == tuned[0].id)
    assert (asked["level"], asked["model"]) == ("info", MODEL)
    assert asked["request_id"] == created["request_id"]
    assert asked["user_id"].startswith("acct-")
    begun = next(one for one in lines if one["event"] == "attempt_begun" and one["job_id"] == tuned[0].id)
    assert begun["attempt"] == 1
