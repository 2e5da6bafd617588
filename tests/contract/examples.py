"""One event of every type, told in order as the life of an aggregate; and a record of each other kind.

But for the states: they are a cache, of another shape with every version (`app.log.aggregates.state_schema`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.domain.accounts import (
    ACCOUNTS,
    KeyIssued,
    KeyRetired,
    KeyRevoked,
    LimitsSet,
    Opened,
    Reinstated,
    Renamed,
    Suspended,
)
from app.domain.decider import Decider, fold
from app.domain.files import FILES, Checked, Deleted, Fault, Uploaded
from app.domain.hyperparameters import Hyperparameters
from app.domain.models import MODELS, Archived, Registered
from app.domain.models import Deleted as ModelDeleted
from app.domain.tunings import (
    TUNINGS,
    Attempt,
    AttemptLost,
    Cancelled,
    CancelTuning,
    Checkpoint,
    CheckpointSaved,
    Created,
    Dispatched,
    EpochCompleted,
    EpochResult,
    Failed,
    Failure,
    FileRef,
    HandBackAttempt,
    MemoryReduced,
    ModelRef,
    PauseAttempt,
    Paused,
    PauseRequested,
    Reduction,
    ResultFile,
    Resumed,
    RunAttempt,
    Started,
    StopAttempt,
    Succeeded,
    Updated,
    WarmStart,
)
from app.domain.webhooks import WebhookAdded, WebhookRemoved, WebhookSecretRotated, WebhookUpdated
from app.log.codec import (
    FIRST_CHAIN,
    Command,
    Event,
    Reply,
    command_record,
    encode,
    event_record,
    read_event,
    reply_record,
)
from app.log.metrics import Phase, Step, metric_record
from app.log.port import Partition, Received, Record
from app.log.queue import QueuePlace, queue_record
from app.log.work import order_record
from app.log.workers import Control, Device, Heartbeat, Occupant, Slot, control_record, heartbeat_record

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
JOB, FILE, MODEL, ACCOUNT = "job-aaaabbbbccccddddeeeeffff", "file-aaaabbbb", "base-model", "acct-aaaabbbb"
WEBHOOK = "wh-aaaabbbb"
ATTEMPT = Attempt(1, "worker-1", "session-1", 0)
DIGEST = "ab" * 32
CREATED = Created(
    account_id=ACCOUNT,
    model=ModelRef(MODEL, "r1"),
    training_file=FileRef(FILE, DIGEST, "files/a", 1000, 10, 300),
    validation_file=None,
    hyperparameters=Hyperparameters(alpha=32.0, batch_size=4, max_length=512, epochs=2),
    method="supervised",
    suffix="mails",
    metadata={"team": "Übersetzung"},
    seed=7,
    priority=0,
    memory=123456789,
    request_hash=DIGEST,
    warm_start=WarmStart(
        f"ft:{MODEL}::job-ggggbbbb",
        "job-ggggbbbb",
        (ResultFile("file-adapter", "adapter/adapter_model.safetensors", 100, DIGEST, "tunings/a"),),
    ),
    labels_hash=DIGEST,
    rerun_of="job-hhhhbbbb",
    export="merged",
    example_losses=500,
)
RESULT = ResultFile("file-result", "curve.csv", 100, DIGEST, "results/curve.csv")
FAILURE = Failure("out_of_memory", "user", "lower batch_size", "hyperparameters.batch_size", True)
LIVES: dict[str, tuple[Decider, str, tuple[Any, ...]]] = {
    "succeeds": (
        TUNINGS,
        JOB,
        (
            CREATED,
            Dispatched(ATTEMPT),
            Started(1),
            EpochCompleted(1, EpochResult(1, 25, 0.5, 0.75)),
            CheckpointSaved(1, Checkpoint(25, 1, 0, "checkpoints/25", DIGEST, 1000)),
            PauseRequested(1),
            Paused(1),
            Resumed(),
            Dispatched(Attempt(2, "worker-1", "session-1", 0)),
            AttemptLost(2, "worker_lost"),
            Dispatched(Attempt(3, "worker-2", "session-2", 1)),
            Succeeded(3, f"ft:{MODEL}:mails:{JOB}", 0.25, None, 5120, (RESULT,), 2 * 1024**3),
        ),
    ),
    "fails": (TUNINGS, JOB, (CREATED, Dispatched(ATTEMPT), Started(1), Failed(1, FAILURE, (RESULT,)))),
    "reduced": (
        TUNINGS,
        JOB,
        (CREATED, Dispatched(ATTEMPT), Started(1), MemoryReduced(1, Reduction(25, 2, 8, True))),
    ),
    "cancelled": (TUNINGS, JOB, (CREATED, Cancelled(None))),
    "updated": (TUNINGS, JOB, (CREATED, Updated(5, {"team": "mails"}))),
    "file": (
        FILES,
        FILE,
        (
            Uploaded(ACCOUNT, "mails.jsonl", "fine-tune", 1000, DIGEST, "files/a", DIGEST),
            Checked("chat", 10, 1, Fault(3, "json", "/messages", "the line is no JSON", "quote it"), 300),
            Deleted(),
        ),
    ),
    "model": (MODELS, MODEL, (Registered("r1", 2048, 135_000_000, "apache-2.0"), Archived())),
    "tuned model": (MODELS, f"ft:{MODEL}:mails:{JOB}", (ModelDeleted(ACCOUNT),)),
    "account": (
        ACCOUNTS,
        ACCOUNT,
        (
            Opened("team"),
            KeyIssued("key-a", DIGEST, "ci", ("read", "write"), AT + timedelta(days=90)),
            KeyRevoked("key-a"),
            Suspended(),
            Reinstated(),
            Renamed("translators"),
            LimitsSet(2, 0, None, 30),
            KeyIssued("key-b", DIGEST, "ci", ("read", "write"), None),
            KeyRetired("key-b", AT + timedelta(days=1)),
            WebhookAdded(WEBHOOK, "https://example.org/hook", ("tuning.succeeded",), "mails"),
            WebhookUpdated(WEBHOOK, "https://example.org/hook", ("tuning.failed",), "", False, "gone"),
            WebhookSecretRotated(WEBHOOK, 2, AT + timedelta(days=1)),
            WebhookRemoved(WEBHOOK),
        ),
    ),
}


def _life(decider: Decider, id: str, bodies: tuple[Any, ...]) -> list[tuple[Record, Event]]:
    made: list[tuple[Record, Event]] = []
    chain = FIRST_CHAIN
    for version, body in enumerate(bodies, 1):
        at = AT + timedelta(seconds=version)
        command = Command(f"cmd-{id}-{version}", id, "key:key-a", "req-1", at, None)
        record, chain = event_record(
            decider, command=command, version=version, at=at, chain=chain, body=body, partition=0
        )
        received = Received(Partition(record.topic, 0), version - 1, at, id, record.value, record.headers)
        made.append((record, read_event(decider, received)))
    return made


def events() -> dict[str, Record]:
    """The first event of each type in the lives above, by its type."""
    found: dict[str, Record] = {}
    for life in LIVES.values():
        for record, event in _life(*life):
            found.setdefault(event.type, record)
    return found


def others() -> dict[str, Record]:
    """What else lies on the log, by a name."""
    history = [(event.body, event.recorded) for _, event in _life(*LIVES["succeeds"])[:2]]
    tuning = fold(TUNINGS, history)
    accepted = Reply("cmd-2", JOB, True, 2, state=msgspec.Raw(encode(tuning)))
    refused = Reply("cmd-3", JOB, False, 2, code="invalid_state_transition", message="not now", param="id")
    given = Command("cmd-2", JOB, "system:scheduler", "req-1", AT, None)
    step = Step(1, 10, 0.5, 1.25, 1e-4, 0.75, 5120, 900.5, 60.0, 50, 2, 10**9, None, "cuda")
    slot = Slot(0, Device("cuda", "H200", 10**11), Occupant(JOB, 1, "training", 10, 60.0))
    return {
        "command": command_record(
            TUNINGS,
            id="cmd-9",
            aggregate_id=JOB,
            actor="key:key-a",
            correlation_id="req-9",
            source="api",
            body=CancelTuning(),
        ),
        "reply-accepted": reply_record(accepted, noun="tuning", partition=0),
        "reply-refused": reply_record(refused, noun="tuning", partition=0),
        "work-run": order_record(RunAttempt(ATTEMPT, tuning), given),
        "work-stop": order_record(StopAttempt(JOB, 1, "worker-1", "session-1", "cancelled"), given),
        "work-hand-back": order_record(HandBackAttempt(JOB, 1, "worker-1", "session-1", "preempted"), given),
        "work-pause": order_record(PauseAttempt(JOB, 1, "worker-1", "session-1"), given),
        "heartbeat": heartbeat_record(Heartbeat("worker-1", "session-1", 3, (slot,), False, "0.1.0")),
        "worker-control": control_record(Control("worker-1", "hand_back", "it fails", "session-1")),
        "queue-place": queue_record(JOB, QueuePlace(2, AT)),
        "step": metric_record(JOB, step, worker="worker-1"),
        "phase": metric_record(JOB, Phase(1, "saving"), worker="worker-1"),
    }
