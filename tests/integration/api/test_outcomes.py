"""What is left of a tuning that succeeded: its memory, its rows, a merged model, and a rerun beside it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tunesmith import InvalidRequestError

from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    Reduction,
    ReportMemoryReduced,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
)
from app.log.metrics import Step, metric_record
from tests.integration.api.service import MODEL, Running, until, uploaded
from tests.integration.api.test_sdk import sdk

WEIGHTS = "adapter/adapter_model.safetensors"
ROWS = [
    {"line": line, "tokens": 20, "trained_tokens": 5, "loss_before": 3.0, "loss_after": loss}
    for line, loss in ((7, 2.5), (2, 1.5), (5, None))
]
EXAMPLES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


async def succeeds(service: Running, job: str, losses: list[float], **contents: bytes) -> None:
    """Carry a tuning through: out of memory once, steps with these losses, and these files."""
    writer = await service.log.writer()
    for step, loss in enumerate(losses, 1):
        metric = Step(1, step, step, loss, 1e-4, 1.0, 10, 5.0, 1.0, 2, 1, 0)
        await writer.send(metric_record(job, metric, worker="worker-1"))
    await writer.close()
    files = []
    for number, (name, content) in enumerate(contents.items()):
        stored = await service.store.put_bytes(f"tunings/{job}/1/{name}", content)
        key = f"tunings/{job}/1/{name}"
        files.append(ResultFile(f"file-{number}{job[5:]}", name, stored.bytes, stored.sha256, key))
    for command in (
        AssignAttempt(Attempt(1, "worker-1", "session-1", 0)),
        ReportStarted(1, "session-1"),
        ReportMemoryReduced(1, "session-1", Reduction(1, 1, 2, True)),
        ReportSucceeded(1, "session-1", 0.5, None, 100, tuple(files), 123456),
    ):
        await service.send("tunings", job, command, actor="worker:worker-1")


async def test_a_tuning_tells_what_it_took_and_its_worst_rows_and_a_rerun_whether_it_is_the_same(
    service: Running, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    body = {"model": MODEL, "training_file": await uploaded(client), "export": "merged", "example_losses": 3}
    created = await client.post("/v1/tunings.create", json=body)
    assert created.status_code == 201, created.text
    assert created.json()["memory"]["peak"] is None
    async with sdk(service) as ours:
        job = await ours.tunings.get(created.json()["id"])
        with pytest.raises(InvalidRequestError) as early:
            await job.examples()
        assert early.value.code == "examples_not_ready"
        weights = {WEIGHTS: b"w" * 700, "results/examples.jsonl": EXAMPLES}
        merged = {"merged/config.json": b"{}", "merged/model.safetensors": bytes(70_000)}
        await succeeds(service, job.id, [2.0, 1.0], **weights, **merged)

        def ended(id: str) -> Callable[[], Awaitable[bool]]:
            async def told() -> bool:
                steps = await service.sql("SELECT 1 FROM tuning_steps WHERE tuning_id = $1", id)
                return len(steps) == 2 and (await ours.tunings.get(id)).succeeded

            return told

        await until(ended(job.id))
        await job.refresh()
        assert (job.export, job.memory and job.memory.peak) == ("merged", 123456)
        assert job.memory is not None
        assert job.memory.reduced is not None
        assert (job.memory.reduced.rows_at_a_time, job.memory.reduced.gradient_checkpointing) == (1, True)

        first = await job.examples(limit=2)
        assert (first.looked_at, first.rows, first.has_more) == (3, 8, True)
        rest = await job.examples(after_line=first.data[-1].line)
        assert ([one.line for one in (*first.data, *rest.data)], rest.has_more) == ([7, 2, 5], False)
        assert rest.data[0].loss_after is None
        with pytest.raises(InvalidRequestError):
            await job.examples(after_line=1)

        whole = await job.download_adapter(tmp_path / "merged", form="merged")
        assert sorted((one.name, one.stat().st_size) for one in whole.iterdir()) == [
            ("config.json", 2),
            ("model.safetensors", 70_000),
        ]

        assert job.rerun_outcome is None
        same, other = await job.rerun(), await job.rerun()
        assert same.export == "merged"
        await succeeds(service, same.id, [2.0, 1.0], **weights)
        await succeeds(service, other.id, [2.0, 1.25], **{WEIGHTS: b"v"})
        for again, expected in ((same, (True, 0.0)), (other, (False, 0.25))):
            await until(ended(again.id))
            await again.refresh()
            outcome = again.rerun_outcome
            assert outcome is not None
            assert outcome.of == job.id
            assert (outcome.same_adapter, outcome.largest_loss_difference) == expected
        with pytest.raises(InvalidRequestError) as alone:
            await other.download_adapter(tmp_path / "none", form="merged")
        assert alone.value.code == "not_exported"
        assert not (tmp_path / "none").exists()
