"""The source document's example client works against the service, as it stands in the document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    EpochResult,
    ReportEpoch,
    ReportStarted,
    ReportSucceeded,
)
from tests.acceptance import source_client as source
from tests.integration.api.service import MODEL, Running, memory_log, running, uploaded

CREATES = 4


@pytest_asyncio.fixture
async def limited(database: str, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(memory_log(), database, tmp_path, creates_per_minute=CREATES) as found:
        yield found


async def test_it_works_as_it_stands_in_the_document(limited: Running) -> None:
    async with limited.client() as ours:
        file = await uploaded(ours)
    await asyncio.to_thread(refused, limited)
    client = source.TuningClient(limited.key, base_url=limited.url)
    id = await asyncio.to_thread(created, client, file)
    waiting = asyncio.create_task(asyncio.to_thread(ended, client, id))
    for body in (
        AssignAttempt(Attempt(1, "w", "s", 0)),
        ReportStarted(1, "s"),
        ReportEpoch(1, "s", EpochResult(1, 4, 1.5, None)),
        ReportEpoch(1, "s", EpochResult(2, 8, 1.25, None)),
        ReportSucceeded(1, "s", 1.25, None, 100, ()),
    ):
        await limited.send("tunings", id, body, actor="worker:w")
    await waiting


def created(client: Any, file: str) -> str:
    """Create, list, read and cancel; the id of the one that waits. The last create is one too many."""
    tunings = client.tunings
    kept = tunings.create(
        MODEL,
        file,
        {"rank": 8, "alpha": 16.0, "epochs": 2, "use_quantization": True},
        suffix="my-custom-model",
    )
    assert (kept.status, kept.model, kept.metrics) == ("pending", MODEL, None)
    assert repr(kept) == f"<TuningJob id={kept.id} status=pending>"
    assert tunings.get(kept.id)._data == kept._data
    older = {"lora": {"rank": 8}, "training": {"epochs": 2}}
    others = [tunings.create(MODEL, file, older), tunings.create(MODEL, file), tunings.create(MODEL, file)]
    made = [kept.id, *(other.id for other in others)]
    assert [job.id for job in tunings.list()] == made[::-1]
    assert [job.id for job in tunings.list(limit=2, after=made[2])] == made[1::-1]
    for other in others:
        assert other.cancel().status == "cancelled"
        assert other.refresh().wait_for_completion(timeout=5).status == "cancelled"
    with pytest.raises(source.TimeoutError):
        kept.wait_for_completion(poll_interval=0.05, timeout=0.2)
    with pytest.raises(source.RateLimitError, match=f"at most {CREATES} tunings"):
        tunings.create(MODEL, file)
    return str(kept.id)


def ended(client: Any, id: str) -> None:
    """Wait for the end, and read what came of it."""
    job = client.tunings.wait_for_completion(id, poll_interval=0.1, timeout=30)
    assert job.status == "succeeded"
    told = ("train_loss", "eval_loss", "current_epoch", "total_epochs", "progress")
    assert [job.metrics[name] for name in told] == [1.25, None, 2, 2, 1.0]
    curve = client._request("GET", f"/v1/tunings.metrics/{id}")
    assert [epoch["train_loss"] for epoch in curve["epochs"]] == [1.5, 1.25]
    with pytest.raises(source.APIError, match="is succeeded and cannot become cancelled"):
        job.cancel()


def refused(service: Running) -> None:
    """Every refusal comes as the exception that the document has for it."""
    client = source.TuningClient(service.key, base_url=service.url)
    nobody = source.TuningClient("sk-none", base_url=service.url)
    with pytest.raises(source.AuthenticationError, match="API key is not known"):
        nobody.tunings.list()
    for ask in (client.tunings.get, client.tunings.cancel):
        with pytest.raises(source.NotFoundError, match="there is no tuning 'job-none'"):
            ask("job-none")
    with pytest.raises(source.APIError, match="file 'file-none' not found"):
        client.tunings.create(MODEL, "file-none")
    nowhere = source.TuningClient("sk-none", base_url="http://127.0.0.1:1", max_retries=1)
    with pytest.raises(source.APIConnectionError):
        nowhere.tunings.list()
