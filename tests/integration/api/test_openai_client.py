"""OpenAI's stock client against the service: only its address and key are ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    Checkpoint,
    EpochResult,
    Failure,
    ReportCheckpoint,
    ReportEpoch,
    ReportFailed,
    ReportPaused,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
)
from app.log.metrics import Step, metric_record
from examples.openai_client.tune import tune
from tests.integration.api.service import MODEL, ROW, Running, open_account, until

FIRST, SECOND = Attempt(1, "w", "s", 0), Attempt(2, "w", "s", 0)


@contextmanager
def stock(service: Running, key: str | None = None) -> Iterator[OpenAI]:
    """The client, told where and as whom, and not to try again."""
    with OpenAI(base_url=f"{service.url}/v1", api_key=key or service.key, max_retries=0) as client:
        yield client


class Trainer:
    """What a trainer worker would report of one tuning."""

    def __init__(self, service: Running, id: str) -> None:
        self._service, self._id = service, id

    async def reports(self, *bodies: Any) -> None:
        for body in bodies:
            await self._service.send("tunings", self._id, body, actor="worker:w")

    async def hears(self, event: str) -> None:
        """Wait until this has happened to the tuning."""
        query = "SELECT 1 FROM tuning_events WHERE tuning_id = $1 AND type = $2"
        await until(lambda: self._service.sql(query, self._id, f"tunesmith.tuning.{event}.v1"))

    async def steps(self, step: Step) -> None:
        writer = await self._service.log.writer()
        await writer.send(metric_record(self._id, step, worker="w"))
        await writer.close()

    async def stores(self, name: str, content: bytes) -> ResultFile:
        key = f"tunings/{self._id}/2/{name}"
        put = await self._service.store.put_bytes(key, content)
        return ResultFile(f"file-{put.sha256[:24]}", name, put.bytes, put.sha256, key)


async def train(service: Running) -> None:
    """Be the trainer of the first tuning that somebody creates: told to pause, it does; it ends well."""
    [row] = await until(lambda: service.sql("SELECT id FROM tunings ORDER BY created_at LIMIT 1"))
    trainer = Trainer(service, row["id"])
    await trainer.reports(AssignAttempt(FIRST), ReportStarted(1, "s"))
    await trainer.hears("pause_requested")
    checkpoint = Checkpoint(3, 0, 3, "checkpoints/3", "ab", 100)
    await trainer.reports(ReportCheckpoint(1, "s", checkpoint), ReportPaused(1, "s"))
    await trainer.hears("resumed")
    await trainer.reports(AssignAttempt(SECOND), ReportEpoch(2, "s", EpochResult(1, 8, 1.5, 1.75)))
    await trainer.reports(ReportEpoch(2, "s", EpochResult(2, 16, 1.25, 1.5)))
    results = (
        await trainer.stores("adapter/adapter_config.json", b"{}"),
        await trainer.stores("results/metrics.jsonl", b"{}\n"),
    )
    await trainer.reports(ReportSucceeded(2, "s", 1.25, 1.5, 4096, results))


async def test_it_does_a_whole_tuning(service: Running, tmp_path: Path) -> None:
    said: list[str] = []
    with stock(service) as client:
        async with asyncio.timeout(60):
            await asyncio.gather(
                asyncio.to_thread(tune, client, tmp_path / "adapter", say=said.append, poll=0.05),
                train(service),
            )
    [row] = await service.sql("SELECT id FROM tunings ORDER BY created_at LIMIT 1")
    tuned = f"ft:{MODEL}:order-mails:{row['id']}"
    transcript = "\n".join(said)
    assert [line for line in said if line.startswith("  ")] == [
        "  info message: the tuning was created",
        "  info message: attempt 1 was given to worker w",
        "  info message: training has started",
        "  info message: a pause was asked for",
        "  info message: a checkpoint was saved after step 3",
        "  info message: the tuning is paused; its devices are free",
        "  info message: the tuning goes on",
        "  info message: attempt 2 was given to worker w",
        "  info metrics: epoch 1 is complete: training loss 1.5000, evaluation loss 1.7500",
        "  info metrics: epoch 2 is complete: training loss 1.2500, evaluation loss 1.5000",
        f"  info message: the adapter is ready: {tuned}",
    ]
    for part in (
        "fine_tuning.jobs.cancel → cancelled",
        "fine_tuning.jobs.resume → running",
        f"fine_tuning.jobs.retrieve → succeeded, {tuned}, 4096 tokens",
        f"models.retrieve → {tuned}, owned by {service.account}",
        f"models.list → {MODEL}\n",
    ):
        assert part in transcript
    checkpoints = [line for line in said if "checkpoints.list → step" in line]
    assert [line.split()[3] for line in checkpoints] == ["16:", "8:"]
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["adapter_config.json"]
    async with service.client() as ours:
        assert (await ours.get(f"/v1/models/{tuned}")).status_code == 404
        assert (await ours.get(f"/v1/tunings.get/{row['id']}")).json()["fine_tuned_model"] == tuned
        assert (await ours.get(f"/v1/tunings.adapter/{row['id']}")).status_code == 200


async def test_it_lists_filters_and_is_refused_as_at_openai(service: Running) -> None:
    stranger = await open_account(service)

    def asks() -> list[str]:
        with stock(service) as client, stock(service, stranger) as other, stock(service, "sk-no") as nobody:
            return [*lists(client), *refused(client, other, nobody)]

    made = await asyncio.to_thread(asks)
    await fails(service, made[0])
    async with service.client() as ours:
        await conforms(ours, made)


def lists(client: OpenAI) -> list[str]:
    """List in every way; the ids of the jobs made for it, oldest first."""
    jobs = client.fine_tuning.jobs
    file = client.files.create(file=("rows.jsonl", ROW * 8), purpose="fine-tune")
    other = client.files.create(file=("rows.jsonl", ROW * 9), purpose="user_data")
    assert [each.id for each in client.files.list(purpose="fine-tune", limit=10_000)] == [file.id]
    assert [each.id for each in client.files.list(order="asc", limit=1)] == [file.id, other.id]
    assert client.files.content(file.id).content == ROW * 8
    team = {"team": "a b&c=d", "empty": ""}
    made = [jobs.create(model=MODEL, training_file=file.id, metadata=team)]
    older = {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    made += [jobs.create(model=MODEL, training_file=file.id, hyperparameters=older) for _ in range(4)]  # type: ignore[arg-type]
    assert made[0].metadata == team
    for job in made[1:]:
        assert (job.status, job.metadata, job.hyperparameters.n_epochs) == ("queued", None, 1)
        assert job.hyperparameters.learning_rate_multiplier == 1.0
    ids = [job.id for job in made]
    assert [each.id for each in jobs.list(limit=2)] == ids[::-1]
    assert [each.id for each in jobs.list(metadata=team)] == ids[:1]
    assert [each.id for each in jobs.list(metadata={"empty": ""})] == ids[:1]
    assert [each.id for each in jobs.list(metadata={"team": "x"})] == []
    assert [each.id for each in jobs.list(extra_query={"metadata": "null"})] == ids[:0:-1]
    assert [event.type for event in jobs.list_events(ids[0])] == ["message"]
    assert list(jobs.checkpoints.list(ids[0])) == []
    return ids


def refused(client: OpenAI, stranger: OpenAI, nobody: OpenAI) -> list[str]:
    """Be refused, each time with the exception that the client has for it."""
    jobs = client.fine_tuning.jobs
    [id, *_] = [job.id for job in jobs.list()]

    def fault(kind: type[openai.APIStatusError], ask: Any, **given: Any) -> openai.APIStatusError:
        with pytest.raises(kind) as told:
            ask(**given)
        return told.value

    file = next(iter(client.files.list(purpose="fine-tune"))).id
    plain = {"model": MODEL, "training_file": file}
    for wrong, param in (
        ({"model": "gpt-9"}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method.type"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 0}}}},
            "method.supervised.hyperparameters.n_epochs",
        ),
        ({"extra_body": {"hyperparameters": {"colour": 1}}}, "hyperparameters.colour"),
    ):
        told = fault(openai.BadRequestError, jobs.create, **(plain | wrong))
        assert told.param == param
        assert told.type == "invalid_request_error"
    assert fault(openai.BadRequestError, jobs.pause, fine_tuning_job_id=id).code == "invalid_state_transition"
    assert fault(openai.BadRequestError, client.models.delete, model=MODEL).code == "model_not_deletable"
    fault(openai.BadRequestError, jobs.list, extra_query={"metadata": "none"})
    fault(openai.BadRequestError, jobs.list, extra_query={"metadata": "null", "metadata[a]": "b"})
    fault(openai.BadRequestError, jobs.list_events, fine_tuning_job_id=id, after="job-x:1")
    fault(openai.AuthenticationError, nobody.fine_tuning.jobs.list)
    theirs = stranger.fine_tuning.jobs
    for ask in (theirs.retrieve, theirs.cancel, theirs.pause, theirs.resume, theirs.list_events):
        fault(openai.NotFoundError, ask, fine_tuning_job_id=id)
    fault(openai.NotFoundError, theirs.checkpoints.list, fine_tuning_job_id=id)
    fault(openai.NotFoundError, stranger.models.delete, model="ft:none")
    again = {"extra_headers": {"idempotency-key": "once"}}
    first = jobs.create(**plain, **again)  # type: ignore[arg-type]
    assert jobs.create(**plain, **again).id == first.id  # type: ignore[arg-type]
    assert fault(openai.ConflictError, jobs.create, **plain, seed=1, **again).code == "idempotency_conflict"
    return [first.id]


async def fails(service: Running, id: str) -> None:
    """A tuning that trains, and fails, as the asynchronous client hears of it."""
    trainer = Trainer(service, id)
    await trainer.reports(AssignAttempt(FIRST), ReportStarted(1, "s"))
    await trainer.steps(Step(1, 2, 0.5, 1.25, 1e-4, 0.5, 100, 50.0, 30.0, 4, 1, 0))
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key=service.key) as client:
        jobs = client.fine_tuning.jobs

        async def trains() -> bool:
            return (await jobs.retrieve(id)).estimated_finish is not None

        await until(trains)
        failure = Failure("out_of_memory", "user", "lower batch_size", "hyperparameters.batch_size")
        await trainer.reports(ReportFailed(1, "s", failure))
        await trainer.hears("failed")
        job = await jobs.retrieve(id)
        assert (job.status, job.estimated_finish, job.organization_id) == ("failed", None, service.account)
        assert job.error is not None
        assert (job.error.code, job.error.param) == ("out_of_memory", "hyperparameters.batch_size")
        levels = [event.level async for event in jobs.list_events(id, limit=2)]
        assert levels == ["error", "info", "info", "info"]


async def conforms(ours: httpx.AsyncClient, made: list[str]) -> None:
    """Each answer is as the OpenAPI document says; the client of the test sees to it."""
    listed = await ours.get("/v1/fine_tuning/jobs", params={"limit": 100})
    assert {job["id"] for job in listed.json()["data"]} == set(made)
    for id in (made[0], made[1]):
        for path in ("", "/events", "/checkpoints"):
            answer = await ours.get(f"/v1/fine_tuning/jobs/{id}{path}")
            assert answer.status_code == 200
    for verb in ("cancel", "pause", "resume"):
        for id in (made[0], made[2]):
            await ours.post(f"/v1/fine_tuning/jobs/{id}/{verb}")
    await ours.post("/v1/fine_tuning/jobs", json={"method": 1})
