"""Events as they lie on the log. Their data are JSON objects; fields that a version lacks are None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from tunesmith._resource import Resource


class ModelRef(Resource):
    """A base model at an exact revision."""

    id: str
    revision: str


class FileRef(Resource):
    """A file by id and content; `bytes` and `rows` are counts, `longest_row` is about so many tokens."""

    id: str
    sha256: str
    key: str
    bytes: int
    rows: int
    longest_row: int | None


class Attempt(Resource):
    """Attempt `number`, from 1, on a slot of a worker in one session of it."""

    number: int
    worker: str
    session: str
    slot: int


class EpochResult(Resource):
    """Mean losses in nats per token after `epoch`, from 1."""

    epoch: int
    step: int
    train_loss: float
    eval_loss: float | None


class Checkpoint(Resource):
    """A verified checkpoint after `step` optimizer steps; `key` is its place in the object store."""

    step: int
    epoch: int
    batch: int
    key: str
    sha256: str
    bytes: int


class Reduction(Resource):
    """How a run that was out of memory goes on after `step`."""

    step: int
    rows_at_a_time: int
    gradient_accumulation: int
    gradient_checkpointing: bool


class ResultFile(Resource):
    """A file that the tuning made."""

    id: str
    name: str
    bytes: int
    sha256: str
    key: str


class WarmStart(Resource):
    """The tuned model that training goes on from, the tuning that made it, and its adapter's files."""

    model: str
    tuning_id: str
    files: list[ResultFile]

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"files": ResultFile}


class Failure(Resource):
    """Why a tuning failed: a stable `code`, `blame` (`user`, `platform`), a sentence that says what to do."""

    code: str
    blame: str
    message: str
    param: str | None
    retryable: bool


class FileFault(Resource):
    """A fault of a file: the line from 1, a stable code, a JSON pointer into the row, a sentence, a fix."""

    line: int
    code: str
    pointer: str
    message: str
    fix: str


class TuningCreated(Resource):
    """A tuning was accepted, every reference and default resolved; `memory` is an estimate in bytes."""

    account_id: str
    model: ModelRef
    training_file: FileRef
    validation_file: FileRef | None
    hyperparameters: dict[str, Any]
    method: str
    suffix: str | None
    metadata: dict[str, str]
    seed: int
    priority: int
    memory: int
    request_hash: str
    warm_start: WarmStart | None
    labels_hash: str | None
    rerun_of: str | None
    export: str
    example_losses: int | None

    _nested: ClassVar[Mapping[str, type[Resource]]] = {
        "model": ModelRef,
        "training_file": FileRef,
        "validation_file": FileRef,
        "warm_start": WarmStart,
    }


class TuningDispatched(Resource):
    """An attempt was given to a worker."""

    attempt: Attempt

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"attempt": Attempt}


class TuningStarted(Resource):
    """Training has started; once a tuning."""

    attempt: int


class TuningEpochCompleted(Resource):
    """An epoch is complete."""

    attempt: int
    result: EpochResult

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"result": EpochResult}


class TuningCheckpointSaved(Resource):
    """A checkpoint is in the object store."""

    attempt: int
    checkpoint: Checkpoint

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"checkpoint": Checkpoint}


class TuningMemoryReduced(Resource):
    """The run was out of memory, and goes on with fewer rows at a time."""

    attempt: int
    reduction: Reduction

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"reduction": Reduction}


class TuningAttemptLost(Resource):
    """The attempt is gone, and another one follows."""

    attempt: int
    reason: str


class TuningPauseRequested(Resource):
    """The attempt was told to come to rest."""

    attempt: int | None


class TuningPaused(Resource):
    """The tuning rests at its last checkpoint."""

    attempt: int | None


class TuningResumed(Resource):
    """The tuning goes on."""


class TuningSucceeded(Resource):
    """The adapter is ready; losses in nats per token."""

    attempt: int
    fine_tuned_model: str
    train_loss: float
    eval_loss: float | None
    trained_tokens: int
    result_files: list[ResultFile]
    memory_peak: int

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"result_files": ResultFile}


class TuningFailed(Resource):
    """The tuning ended without an adapter."""

    attempt: int
    failure: Failure
    result_files: list[ResultFile]

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"failure": Failure, "result_files": ResultFile}


class TuningCancelled(Resource):
    """The tuning was ended by its owner."""

    attempt: int | None


class TuningUpdated(Resource):
    """The tuning has another priority, or other metadata, from now on; None: as before."""

    priority: int | None
    metadata: dict[str, str] | None


class FileUploaded(Resource):
    """A file's bytes are in the object store; `key` is None where they lie at `files/<id>`."""

    account_id: str
    filename: str
    purpose: str
    bytes: int
    sha256: str
    key: str | None
    request_hash: str


class FileChecked(Resource):
    """What the check of a file's content found; `longest_row` is about so many tokens."""

    format: str | None
    rows: int
    fault_count: int
    first_fault: FileFault | None
    longest_row: int | None

    _nested: ClassVar[Mapping[str, type[Resource]]] = {"first_fault": FileFault}


class FileDeleted(Resource):
    """A file is out of use."""


class ModelRegistered(Resource):
    """A base model is to be had; `context_length` in tokens, `template` the family of its chat template."""

    revision: str
    context_length: int
    parameters: int
    license: str
    template: str | None


class ModelArchived(Resource):
    """No new tuning may start from the model."""


class ModelDeleted(Resource):
    """A tuned model is out of use."""

    account_id: str


class AccountOpened(Resource):
    """An account was opened."""

    name: str


class KeyIssued(Resource):
    """An account was given a key; `expires_at` is RFC 3339."""

    key_id: str
    sha256: str
    name: str
    scopes: list[str]
    expires_at: str | None


class KeyRevoked(Resource):
    """A key is worthless."""

    key_id: str


class KeyRetired(Resource):
    """A key was replaced, and is worthless from `expires_at` on, which is RFC 3339."""

    key_id: str
    expires_at: str


class AccountRenamed(Resource):
    """The account has another name."""

    name: str


class AccountLimitsSet(Resource):
    """What the account may have at a time. None: as the installation has it; 0: any number."""

    running_tunings: int | None
    waiting_tunings: int | None
    stored_bytes: int | None
    creates_per_minute: int | None


class WebhookAdded(Resource):
    """An endpoint is told of events of these types."""

    webhook_id: str
    url: str
    types: list[str]
    description: str


class WebhookUpdated(Resource):
    """How an endpoint is from now on; `disabled_reason` is set when the service itself turned it off."""

    webhook_id: str
    url: str
    types: list[str]
    description: str
    enabled: bool
    disabled_reason: str | None


class WebhookSecretRotated(Resource):
    """A new secret signs; the one before it does so until `previous_until`, which is RFC 3339."""

    webhook_id: str
    generation: int
    previous_until: str | None


class WebhookRemoved(Resource):
    """An endpoint is gone."""

    webhook_id: str


class AccountSuspended(Resource):
    """Everything that the account asks for is refused."""


class AccountReinstated(Resource):
    """The suspension ended."""


KINDS: dict[str, type[Resource]] = {
    "tunesmith.tuning.created.v1": TuningCreated,
    "tunesmith.tuning.dispatched.v1": TuningDispatched,
    "tunesmith.tuning.started.v1": TuningStarted,
    "tunesmith.tuning.epoch_completed.v1": TuningEpochCompleted,
    "tunesmith.tuning.checkpoint_saved.v1": TuningCheckpointSaved,
    "tunesmith.tuning.memory_reduced.v1": TuningMemoryReduced,
    "tunesmith.tuning.attempt_lost.v1": TuningAttemptLost,
    "tunesmith.tuning.pause_requested.v1": TuningPauseRequested,
    "tunesmith.tuning.paused.v1": TuningPaused,
    "tunesmith.tuning.resumed.v1": TuningResumed,
    "tunesmith.tuning.succeeded.v1": TuningSucceeded,
    "tunesmith.tuning.failed.v1": TuningFailed,
    "tunesmith.tuning.cancelled.v1": TuningCancelled,
    "tunesmith.tuning.updated.v1": TuningUpdated,
    "tunesmith.file.uploaded.v1": FileUploaded,
    "tunesmith.file.uploaded.v2": FileUploaded,
    "tunesmith.file.checked.v1": FileChecked,
    "tunesmith.file.deleted.v1": FileDeleted,
    "tunesmith.model.registered.v1": ModelRegistered,
    "tunesmith.model.archived.v1": ModelArchived,
    "tunesmith.model.deleted.v1": ModelDeleted,
    "tunesmith.account.opened.v1": AccountOpened,
    "tunesmith.account.key_issued.v1": KeyIssued,
    "tunesmith.account.key_revoked.v1": KeyRevoked,
    "tunesmith.account.key_retired.v1": KeyRetired,
    "tunesmith.account.renamed.v1": AccountRenamed,
    "tunesmith.account.limits_set.v1": AccountLimitsSet,
    "tunesmith.account.suspended.v1": AccountSuspended,
    "tunesmith.account.reinstated.v1": AccountReinstated,
    "tunesmith.account.webhook_added.v1": WebhookAdded,
    "tunesmith.account.webhook_updated.v1": WebhookUpdated,
    "tunesmith.account.webhook_secret_rotated.v1": WebhookSecretRotated,
    "tunesmith.account.webhook_removed.v1": WebhookRemoved,
}


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        id: `<aggregate id>:<version>`, the same in REST, webhooks and here.
        type: What happened in a word, such as `succeeded`.
        wire_type: The same as it stands on the log, such as `tunesmith.tuning.succeeded.v1`.
        aggregate_id: What it happened to, such as `job-…`.
        version: From 1, without a gap, within the aggregate.
        time: When; UTC, never going back within the aggregate.
        actor: Who asked: `key:<id>`, `worker:<id>` or `system:<role>`.
        causation_id: The command that caused it.
        correlation_id: The request that began it.
        chain: Its hash, over itself and the event before it.
        data: What happened, typed; a plain `Resource` for a type that this version does not know.
        position: Where to go on after this event: give it to `EventStream` to resume.
    """

    id: str
    type: str
    wire_type: str
    aggregate_id: str
    version: int
    time: datetime
    actor: str
    causation_id: str
    correlation_id: str
    chain: str
    data: Resource
    position: str
