"""Everything that the client with coroutines can do, with the types that it is promised to have."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tunesmith import (
    Account,
    APIError,
    ApiKey,
    AsyncPage,
    AsyncTuningClient,
    AsyncTuningJob,
    AuditEntry,
    Checkpoint,
    Deleted,
    ExampleLosses,
    File,
    FileCheck,
    FileFault,
    Health,
    Hyperparameters,
    InvalidRequestError,
    Lengths,
    Model,
    RateLimitError,
    StepMetric,
    TuningEstimate,
    TuningEvent,
    TuningLog,
    TuningPreview,
    Upload,
    UploadPart,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookReplay,
    retry_with_exponential_backoff,
)


async def with_files(client: AsyncTuningClient, folder: Path) -> str:
    """Upload, check, read, delete."""

    def on_progress(sent: int, total: int) -> None:
        print(f"{sent / total:.0%}")

    file: File = await client.files.upload(folder / "train.jsonl", on_progress=on_progress)
    file = await client.files.wait_until_processed(file.id, timeout=60)
    check: FileCheck = await client.files.check(file.id, limit=10)
    first: FileFault | None = check.faults[0] if check.faults else None
    line: int | None = first.line if first else None
    spread: Lengths | None = check.statistics.characters_per_row if check.statistics else None
    print(spread and spread.p50)
    async for fault in client.files.faults(file.id):
        print(line, fault.code, fault.fix)
    page: AsyncPage[File] = await client.files.list(5, purpose="fine-tune")
    print([one.filename for one in page], page.has_more, page.next_after)
    async for one in client.files.iter():
        print((await client.files.get(one.id)).bytes + 1)
    content: bytes = await client.files.content(file.id)
    where: Path = await client.files.download(file.id, folder / "back.jsonl")
    gone: Deleted = await client.files.delete(file.id)
    print(len(content), where.name, gone.deleted)
    return file.id


async def with_uploads(client: AsyncTuningClient) -> File | None:
    """Send a file in parts of one's own."""
    upload: Upload = await client.uploads.create("train.jsonl", 20)
    part: UploadPart = await client.uploads.add_part(upload.id, b"x" * 20)
    known: list[UploadPart] = (await client.uploads.get(upload.id)).parts or []
    print(len(known))
    try:
        return (await client.uploads.complete(upload.id, [part.id], md5="…")).file
    except APIError as error:
        print(error.upload_id, error.request_id, error.code, error.status_code)
        return (await client.uploads.cancel(upload.id)).file


async def with_tunings(client: AsyncTuningClient, file: str) -> AsyncTuningJob:
    """Estimate, preview, create, follow, steer."""
    given: Hyperparameters = {
        "rank": 8,
        "learning_rate": 1e-4,
        "batch_size": "auto",
        "target_modules": ["q_proj"],
    }
    estimate: TuningEstimate = await client.tunings.estimate("m", file, given)
    needed: int | None = estimate.memory.total if estimate.memory else None
    preview: TuningPreview = await client.tunings.preview("m", file, given, first=1)
    learned = [token.text for row in preview.rows for token in row.tokens if token.trained]
    print(needed, learned, estimate.steps, estimate.suggestion)
    job: AsyncTuningJob = await client.tunings.create(
        "m", file, given, metadata={"team": "a"}, preview_hash=preview.preview_hash
    )
    job = await client.tunings.update(job.id, priority=3)
    await client.tunings.pause(job.id)
    await client.tunings.resume(job.id)
    event: TuningEvent
    async for event in client.tunings.stream_events(job.id):
        print(event.type, event.version + 1, event.data.get("step"))
    async for told in client.tunings.stream_events(job.id, after="job-1:3", include_metrics=True):
        what: str | int = told.step if isinstance(told, StepMetric) else told.type
        print(what)
    async for update in client.tunings.watch(job.id, 0.5):
        print(update.job.status, [step.loss for step in update.steps])
    events: AsyncPage[TuningEvent] = await client.tunings.events(job.id)
    checkpoints: AsyncPage[Checkpoint] = await client.tunings.checkpoints(job.id)
    log: TuningLog = await client.tunings.logs(job.id, 1)
    worst: ExampleLosses = await client.tunings.examples(job.id, limit=3)
    print(worst.looked_at, worst.data[0].line, worst.data[0].loss_after)
    curve: AsyncPage[StepMetric] = await client.tunings.metrics(job.id, points=100)
    print(len(events), checkpoints[0].step, log.text, curve[0].loss)
    job = await client.tunings.wait_for_completion(job.id, timeout=5)
    again: AsyncTuningJob = await client.tunings.rerun(job.id)
    await client.tunings.cancel(again.id)
    following: AsyncPage[AsyncTuningJob] | None = await (
        await client.tunings.list(status="running")
    ).next_page()
    print(following and following.has_more)
    ids: list[str] = [one.id async for one in client.tunings.iter(metadata={"team": "a"})]
    print(ids, await client.tunings.download_adapter(job.id, "adapter"))
    await client.tunings.create_and_wait("m", file, timeout=1)
    return await client.tunings.get(job.id)


async def with_a_job(job: AsyncTuningJob) -> None:
    """What a job can do itself."""
    job = await (await (await (await job.refresh()).pause()).resume()).update(priority=1)
    loss: float | None = job.metrics.train_loss if job.metrics else None
    reason: str | None = job.error.code if job.error else None
    position: int | None = job.queue.position if job.queue else None
    print(loss, reason, position, job.fine_tuned_model, job.warm_start, job.rerun_of, job.ended)
    same: bool | None = job.rerun_outcome.same_adapter if job.rerun_outcome else None
    print(same, job.memory and job.memory.peak, job.export, (await job.examples()).rows)
    async for event in job.stream_events():
        print(event.ends)
    async for update in job.watch():
        print(update.steps)
    print(await job.events(), await job.checkpoints(), (await job.logs()).attempts)
    where: Path = await (await job.wait_for_completion()).download_adapter("adapter")
    print(where, (await job.rerun()).id, (await job.cancel()).status, job.to_dict())


async def with_the_rest(client: AsyncTuningClient) -> None:
    """Models, keys, accounts, webhooks, the audit log."""
    models: list[Model] = [model async for model in client.models.iter()]
    print(len(await client.models.list()), (await client.models.get(models[0].id)).context_length)
    print((await client.models.delete("ft:m::job-1")).deleted)
    key: ApiKey = await client.keys.create("ci", ["read"], expires_in=60)
    secret: str | None = (await client.keys.rotate(key.id, keep_seconds=9)).key
    print(secret, (await client.keys.get(key.id)).scopes, len(await client.keys.list(5)))
    print((await client.keys.revoke(key.id)).revoked_at, [one.id async for one in client.keys.iter()])
    account: Account = await client.accounts.current()
    limit: int | None = account.limits.stored_bytes if account.limits else None
    team = await client.accounts.create("team", {"running_tunings": 2, "stored_bytes": None})
    await client.accounts.update(team.id, limits={"creates_per_minute": 0})
    await client.accounts.suspend(team.id)
    await client.accounts.reinstate(team.id)
    print(limit, (await client.accounts.get(team.id)).suspended, len(await client.accounts.list()))
    print([one.name async for one in client.accounts.iter()])
    endpoint: WebhookEndpoint = await client.webhooks.create("https://a.example/", ["tuning.failed"])
    await client.webhooks.update(endpoint.id, enabled=False)
    signed: str | None = (await client.webhooks.rotate(endpoint.id, keep_seconds=0)).secret
    tested: WebhookDelivery = await client.webhooks.test(endpoint.id)
    replayed: WebhookReplay = await client.webhooks.replay(endpoint.id, since=0)
    print(signed, tested.status, replayed.queued, (await client.webhooks.get(endpoint.id)).url)
    for delivery in await client.webhooks.deliveries(endpoint.id):
        answers = [attempt.answer.status if attempt.answer else None for attempt in delivery.attempts or []]
        print(delivery.type, answers)
    print(len(await client.webhooks.list()), [one.url async for one in client.webhooks.iter()])
    print((await client.webhooks.delete(endpoint.id)).id)
    entries: AsyncPage[AuditEntry] = await client.audit.list(outcome="refused")
    print(entries[0].action, [one.target async for one in client.audit.iter(action="createKey")])
    health: Health = await client.health()
    print(health.ok, (await client.request("GET", "/v1/models"))["data"])


@retry_with_exponential_backoff(max_retries=5)
async def created(client: AsyncTuningClient, file: str) -> AsyncTuningJob:
    """Retried as the source document has it."""
    try:
        return await client.with_options(timeout=5, max_retries=1).tunings.create("m", file, {"newer": 1})
    except InvalidRequestError as error:
        print(error.param, [fault["message"] for fault in error.errors])
        raise
    except RateLimitError as error:
        await asyncio.sleep(error.retry_after or 1.0)
        raise


async def main() -> None:
    """All of it."""
    async with AsyncTuningClient(base_url="http://localhost:8000", max_retries=2) as client:
        file = await with_files(client, Path(sys.argv[1]))
        await with_uploads(client)
        await with_a_job(await with_tunings(client, file))
        await with_a_job(await created(client, file))
        await with_the_rest(client)


if __name__ == "__main__":
    asyncio.run(main())
