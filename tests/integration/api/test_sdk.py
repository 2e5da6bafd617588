"""The SDK and the command line against the real service: every noun, as a user of them would."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs
from tunesmith import (
    AsyncTuningClient,
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    PermissionError,
    TuningClient,
    TuningEvent,
)
from tunesmith.cli.app import run

from tests.conforming import conforms
from tests.integration.api.service import MODEL, ROW, Running, open_account, until
from tests.integration.api.test_webhooks import telling


@asynccontextmanager
async def sdk(service: Running, key: str | None = None) -> AsyncIterator[AsyncTuningClient]:
    """A client of the service; whatever it is answered is held against the OpenAPI document."""
    async with (
        httpx.AsyncClient(event_hooks={"response": [conforms]}) as http,
        AsyncTuningClient(key or service.key, service.url, http_client=http) as client,
    ):
        yield client


async def test_every_noun_of_the_service_is_had_through_the_sdk(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with telling(database, tmp_path) as (service, _, receiver), sdk(service) as client:
        file = await with_files(client)
        await with_tunings(client, file)
        await with_models(client)
        await with_keys(service, client)
        async with sdk(service, await open_account(service, "read", "write", "admin")) as admin:
            await with_accounts(service, admin)
        await with_webhooks(client, receiver.url)
        monkeypatch.setenv("TUNESMITH_API_KEY", service.key)
        monkeypatch.setenv("TUNESMITH_BASE_URL", service.url)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setenv("COLUMNS", "120")
        with capture_logs():  # the service is in this process, and its logs are none of the command's output
            await asyncio.to_thread(on_the_command_line, service, file, tmp_path, capsys)


async def with_files(client: AsyncTuningClient) -> str:
    """The id of a file that went up whole, after one that went up in parts."""
    content = ROW * 64
    upload = await client.uploads.create("parts.jsonl", len(content))
    part = await client.uploads.add_part(upload.id, content[:1000], idempotency_key="the first part")
    again = await client.uploads.add_part(upload.id, content[:1000], idempotency_key="the first part")
    assert (part.id, part.bytes) == (again.id, 1000)
    progress: list[int] = []
    in_parts = await client.files.upload(
        content, resume=upload.id, on_progress=lambda sent, _: progress.append(sent)
    )
    assert (in_parts.status, in_parts.bytes) == ("processed", len(content))
    assert in_parts.sha256 == hashlib.sha256(content).hexdigest()
    assert (progress[0] > 1000, progress[-1]) == (True, len(content))
    finished = await client.uploads.get(upload.id)
    assert finished.file is not None
    assert (finished.status, finished.file.id) == ("completed", in_parts.id)
    assert (await client.files.upload(content, resume=upload.id)).id == in_parts.id
    assert await client.files.content(in_parts.id) == content
    assert (await client.files.delete(in_parts.id)).deleted

    faulty = await client.files.upload(b"no json\n" * 3, filename="faulty.jsonl")
    assert faulty.status == "error"
    assert [fault.line async for fault in client.files.faults(faulty.id, page_size=2)] == [1, 2, 3]
    file = await client.files.upload(content, filename="whole.jsonl")
    assert [one.id for one in await client.files.list(2)] == [file.id, faulty.id]
    return file.id


async def with_tunings(client: AsyncTuningClient, file: str) -> None:
    """Estimate, preview, create, follow, steer, run again."""
    estimate = await client.tunings.estimate(MODEL, file, {"rank": 8, "epochs": 1})
    assert estimate.training is not None
    assert estimate.memory is not None
    assert (estimate.training.rows, estimate.fits) == (64, None)
    assert estimate.memory.total is not None
    preview = await client.tunings.preview(MODEL, file, {"rank": 8, "epochs": 1}, lines=[3])
    assert "".join(token.text for token in preview.rows[0].tokens if token.trained).startswith("2")
    with pytest.raises(InvalidRequestError) as caught:
        await client.tunings.create(MODEL, file, {"rank": 0, "colour": 1})
    assert {fault["param"] for fault in caught.value.errors} == {
        "hyperparameters.rank",
        "hyperparameters.colour",
    }
    job = await client.tunings.create(
        MODEL, file, {"rank": 8, "epochs": 1}, preview_hash=preview.preview_hash, metadata={"team": "a"}
    )
    told: list[str] = []

    async def follow() -> None:
        async for event in client.tunings.stream_events(job.id, include_metrics=True):
            assert isinstance(event, TuningEvent)
            told.append(event.type)

    following = asyncio.create_task(follow())
    assert (await job.update(priority=3)).priority == 3
    with pytest.raises(InvalidRequestError, match="pending") as refused:
        await job.pause()
    assert refused.value.code == "invalid_state_transition"
    assert [one.id async for one in client.tunings.iter(metadata={"team": "a"})] == [job.id]
    again = await job.rerun()
    assert (again.rerun_of, again.hyperparameters) == (job.id, job.hyperparameters)
    assert (await again.cancel()).status == "cancelled"
    await job.cancel()
    async with asyncio.timeout(20):
        await following
    assert told == ["created", "updated", "cancelled"]
    assert [event.type async for event in job.stream_events(after=f"{job.id}:2")] == ["cancelled"]
    page = await job.events(2)
    assert [event.version async for event in page.iter()] == [1, 2, 3]
    assert list(await job.checkpoints()) == list(await client.tunings.metrics(job.id, points=10)) == []
    with pytest.raises(NotFoundError):
        await job.logs()
    assert (await job.wait_for_completion(0.1)).ended
    assert [update.job.status async for update in client.tunings.watch(job.id)] == ["cancelled"]


async def with_models(client: AsyncTuningClient) -> None:
    """The packaged model, which nobody can delete."""
    assert MODEL in [model.id async for model in client.models.iter()]
    assert (await client.models.get(MODEL)).context_length
    with pytest.raises(InvalidRequestError):
        await client.models.delete(MODEL)


async def with_keys(service: Running, client: AsyncTuningClient) -> None:
    """A key is made, used, exchanged, and ended."""
    key = await client.keys.create("ci", ["read"], expires_in=3600)
    assert (key.scopes, key.status) == (["read"], "active")
    async with sdk(service, key.key) as reader:
        assert (await reader.accounts.current()).id == service.account
        with pytest.raises(PermissionError):
            await reader.files.upload(ROW)
    newer = await client.keys.rotate(key.id)
    assert newer.key not in (None, key.key)
    assert {one.id: one.key for one in await client.keys.list()}[newer.id] is None
    await client.keys.revoke(newer.id)
    async with sdk(service, newer.key) as reader:
        with pytest.raises(AuthenticationError):
            await refused_in_time(reader)
    assert (await client.keys.get(newer.id)).status == "revoked"

    async def audited() -> bool:
        revoked = [entry.target for entry in await client.audit.list(5, action="revokeKey")]
        refused = {entry.outcome async for entry in client.audit.iter(outcome="refused", page_size=2)}
        return revoked == [newer.id] and refused == {"refused"}

    await until(audited)


async def refused_in_time(client: AsyncTuningClient) -> None:
    """Ask until it is refused."""
    async with asyncio.timeout(5):
        while True:
            await client.models.list()


async def with_accounts(service: Running, admin: AsyncTuningClient) -> None:
    """An account is opened, limited, suspended and taken back."""
    account = await admin.accounts.create("research", {"running_tunings": 2})
    assert account.limits is not None
    assert (account.limits.running_tunings, account.limits.stored_bytes) == (2, None)
    key = await admin.keys.create("first", account=account.id)
    async with sdk(service, key.key) as client:
        assert (await client.accounts.current()).name == "research"
        assert (await admin.accounts.suspend(account.id)).suspended
        with pytest.raises(PermissionError):
            await refused_in_time(client)
    await admin.accounts.reinstate(account.id)
    changed = await admin.accounts.update(account.id, limits={"running_tunings": None})
    assert changed.limits is not None
    assert (changed.limits.running_tunings, changed.suspended) == (None, False)
    assert account.id in [one.id async for one in admin.accounts.iter()]
    assert (await admin.accounts.get(account.id)).name == "research"


async def with_webhooks(client: AsyncTuningClient, url: str) -> None:
    """An endpoint is told of a test and of the past."""
    endpoint = await client.webhooks.create(url, ["tuning.cancelled"], description="ci")
    assert (endpoint.secret or "").startswith("whsec_")
    delivery = await client.webhooks.test(endpoint.id)
    assert (delivery.status, delivery.type) == ("delivered", "webhook.test")
    assert delivery.attempts is not None
    assert delivery.attempts[0].answer is not None
    assert (await client.webhooks.replay(endpoint.id, since=0)).queued == 2
    assert len(await client.webhooks.deliveries(endpoint.id)) == 3
    changed = await client.webhooks.update(endpoint.id, enabled=False)
    assert (changed.enabled, changed.types, changed.secret) == (False, ["tuning.cancelled"], None)
    assert (await client.webhooks.rotate(endpoint.id, keep_seconds=0)).secret != endpoint.secret
    assert [one.id for one in await client.webhooks.list()] == [endpoint.id]
    assert (await client.webhooks.get(endpoint.id)).description == "ci"
    assert (await client.webhooks.delete(endpoint.id)).deleted


def on_the_command_line(
    service: Running, file: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same by `tunesmith`, and by the client without coroutines."""

    def told(*words: str, code: int = 0) -> str:
        assert run(words) == code, capsys.readouterr().err
        return capsys.readouterr().out

    path = folder / "rows.jsonl"
    path.write_bytes(ROW * 8)
    for words in (
        *("files list", "tunings list", "models list", "keys list", "webhooks list", "audit list"),
        *("accounts current", f"tunings estimate -m {MODEL} -t {file}", f"files check {path} -m {MODEL}"),
    ):
        assert told(*words.split())
        assert isinstance(json.loads(told(*words.split(), "--json")), (dict, list))
    path.write_bytes(b'{"prompt": "1 + 1?", "chosen": "2", "rejected": "it may be three"}\n' * 2)
    pairs = told("files", "check", str(path), "-m", MODEL, "--max-length", "36")
    assert ("as smollm2-135m-instruct reads it" in pairs, "/rejected" in pairs) == (True, True), pairs
    assert "⟦2" in told("tunings", "preview", "-m", MODEL, "-t", file, "--first", "1")
    id = told("tunings", "create", "-m", MODEL, "-t", file, "--rank", "4", "--use-dora").strip()
    with TuningClient(service.key, service.url) as client:
        job = client.tunings.get(id)
        assert (job.hyperparameters["rank"], job.hyperparameters["use_dora"]) == (4, True)
        assert job.cancel().status == "cancelled"
        assert [event.type for event in job.stream_events()] == ["created", "cancelled"]
    assert "cancelled" in told("tunings", "watch", id, code=6)
    assert "cancelled" in told("tunings", "events", id, "--follow")
    told("accounts", "list", code=3)
