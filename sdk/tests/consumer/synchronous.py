"""Everything that the client can do, with the types that it is promised to have."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tunesmith import (
    Account,
    APIError,
    ApiKey,
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
    Page,
    RateLimitError,
    StepMetric,
    TuningClient,
    TuningEstimate,
    TuningEvent,
    TuningJob,
    TuningLog,
    TuningPreview,
    Upload,
    UploadPart,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookReplay,
    retry_with_exponential_backoff,
)


def with_files(client: TuningClient, folder: Path) -> str:
    """Upload, check, read, delete."""

    def on_progress(sent: int, total: int) -> None:
        print(f"{sent / total:.0%}")

    file: File = client.files.upload(folder / "train.jsonl", on_progress=on_progress)
    file = client.files.wait_until_processed(file.id, timeout=60)
    check: FileCheck = client.files.check(file.id, limit=10)
    first: FileFault | None = check.faults[0] if check.faults else None
    line: int | None = first.line if first else None
    spread: Lengths | None = check.statistics.characters_per_row if check.statistics else None
    print(spread and spread.p50)
    for fault in client.files.faults(file.id):
        print(line, fault.code, fault.fix)
    page: Page[File] = client.files.list(5, purpose="fine-tune")
    print([one.filename for one in page], page.has_more, page.next_after)
    for one in client.files.iter():
        print((client.files.get(one.id)).bytes + 1)
    content: bytes = client.files.content(file.id)
    where: Path = client.files.download(file.id, folder / "back.jsonl")
    gone: Deleted = client.files.delete(file.id)
    print(len(content), where.name, gone.deleted)
    return file.id


def with_uploads(client: TuningClient) -> File | None:
    """Send a file in parts of one's own."""
    upload: Upload = client.uploads.create("train.jsonl", 20)
    part: UploadPart = client.uploads.add_part(upload.id, b"x" * 20)
    known: list[UploadPart] = (client.uploads.get(upload.id)).parts or []
    print(len(known))
    try:
        return (client.uploads.complete(upload.id, [part.id], md5="…")).file
    except APIError as error:
        print(error.upload_id, error.request_id, error.code, error.status_code)
        return (client.uploads.cancel(upload.id)).file


def with_tunings(client: TuningClient, file: str) -> TuningJob:
    """Estimate, preview, create, follow, steer."""
    given: Hyperparameters = {
        "rank": 8,
        "learning_rate": 1e-4,
        "batch_size": "auto",
        "target_modules": ["q_proj"],
    }
    estimate: TuningEstimate = client.tunings.estimate("m", file, given)
    needed: int | None = estimate.memory.total if estimate.memory else None
    preview: TuningPreview = client.tunings.preview("m", file, given, first=1)
    learned = [token.text for row in preview.rows for token in row.tokens if token.trained]
    print(needed, learned, estimate.steps, estimate.suggestion)
    job: TuningJob = client.tunings.create(
        "m", file, given, metadata={"team": "a"}, preview_hash=preview.preview_hash
    )
    job = client.tunings.update(job.id, priority=3)
    client.tunings.pause(job.id)
    client.tunings.resume(job.id)
    event: TuningEvent
    for event in client.tunings.stream_events(job.id):
        print(event.type, event.version + 1, event.data.get("step"))
    for told in client.tunings.stream_events(job.id, after="job-1:3", include_metrics=True):
        what: str | int = told.step if isinstance(told, StepMetric) else told.type
        print(what)
    for update in client.tunings.watch(job.id, 0.5):
        print(update.job.status, [step.loss for step in update.steps])
    events: Page[TuningEvent] = client.tunings.events(job.id)
    checkpoints: Page[Checkpoint] = client.tunings.checkpoints(job.id)
    log: TuningLog = client.tunings.logs(job.id, 1)
    worst: ExampleLosses = client.tunings.examples(job.id, limit=3)
    print(worst.looked_at, worst.data[0].line, worst.data[0].loss_after)
    curve: Page[StepMetric] = client.tunings.metrics(job.id, points=100)
    print(len(events), checkpoints[0].step, log.text, curve[0].loss)
    job = client.tunings.wait_for_completion(job.id, timeout=5)
    again: TuningJob = client.tunings.rerun(job.id)
    client.tunings.cancel(again.id)
    following: Page[TuningJob] | None = (client.tunings.list(status="running")).next_page()
    print(following and following.has_more)
    ids: list[str] = [one.id for one in client.tunings.iter(metadata={"team": "a"})]
    print(ids, client.tunings.download_adapter(job.id, "adapter"))
    client.tunings.create_and_wait("m", file, timeout=1)
    return client.tunings.get(job.id)


def with_a_job(job: TuningJob) -> None:
    """What a job can do itself."""
    job = (((job.refresh()).pause()).resume()).update(priority=1)
    loss: float | None = job.metrics.train_loss if job.metrics else None
    reason: str | None = job.error.code if job.error else None
    position: int | None = job.queue.position if job.queue else None
    print(loss, reason, position, job.fine_tuned_model, job.warm_start, job.rerun_of, job.ended)
    same: bool | None = job.rerun_outcome.same_adapter if job.rerun_outcome else None
    print(same, job.memory and job.memory.peak, job.export, (job.examples()).rows)
    for event in job.stream_events():
        print(event.ends)
    for update in job.watch():
        print(update.steps)
    print(job.events(), job.checkpoints(), (job.logs()).attempts)
    where: Path = (job.wait_for_completion()).download_adapter("adapter")
    print(where, (job.rerun()).id, (job.cancel()).status, job.to_dict())


def with_the_rest(client: TuningClient) -> None:
    """Models, keys, accounts, webhooks, the audit log."""
    models: list[Model] = list(client.models.iter())
    print(len(client.models.list()), (client.models.get(models[0].id)).context_length)
    print((client.models.delete("ft:m::job-1")).deleted)
    key: ApiKey = client.keys.create("ci", ["read"], expires_in=60)
    secret: str | None = (client.keys.rotate(key.id, keep_seconds=9)).key
    print(secret, (client.keys.get(key.id)).scopes, len(client.keys.list(5)))
    print((client.keys.revoke(key.id)).revoked_at, [one.id for one in client.keys.iter()])
    account: Account = client.accounts.current()
    limit: int | None = account.limits.stored_bytes if account.limits else None
    team = client.accounts.create("team", {"running_tunings": 2, "stored_bytes": None})
    client.accounts.update(team.id, limits={"creates_per_minute": 0})
    client.accounts.suspend(team.id)
    client.accounts.reinstate(team.id)
    print(limit, (client.accounts.get(team.id)).suspended, len(client.accounts.list()))
    print([one.name for one in client.accounts.iter()])
    endpoint: WebhookEndpoint = client.webhooks.create("https://a.example/", ["tuning.failed"])
    client.webhooks.update(endpoint.id, enabled=False)
    signed: str | None = (client.webhooks.rotate(endpoint.id, keep_seconds=0)).secret
    tested: WebhookDelivery = client.webhooks.test(endpoint.id)
    replayed: WebhookReplay = client.webhooks.replay(endpoint.id, since=0)
    print(signed, tested.status, replayed.queued, (client.webhooks.get(endpoint.id)).url)
    for delivery in client.webhooks.deliveries(endpoint.id):
        answers = [attempt.answer.status if attempt.answer else None for attempt in delivery.attempts or []]
        print(delivery.type, answers)
    print(len(client.webhooks.list()), [one.url for one in client.webhooks.iter()])
    print((client.webhooks.delete(endpoint.id)).id)
    entries: Page[AuditEntry] = client.audit.list(outcome="refused")
    print(entries[0].action, [one.target for one in client.audit.iter(action="createKey")])
    health: Health = client.health()
    print(health.ok, (client.request("GET", "/v1/models"))["data"])


@retry_with_exponential_backoff(max_retries=5)
def created(client: TuningClient, file: str) -> TuningJob:
    """Retried as the source document has it."""
    try:
        return client.with_options(timeout=5, max_retries=1).tunings.create("m", file, {"newer": 1})
    except InvalidRequestError as error:
        print(error.param, [fault["message"] for fault in error.errors])
        raise
    except RateLimitError as error:
        time.sleep(error.retry_after or 1.0)
        raise


def main() -> None:
    """All of it."""
    with TuningClient(base_url="http://localhost:8000", max_retries=2) as client:
        file = with_files(client, Path(sys.argv[1]))
        with_uploads(client)
        with_a_job(with_tunings(client, file))
        with_a_job(created(client, file))
        with_the_rest(client)


if __name__ == "__main__":
    main()
