"""Tunings, the fine-tuning jobs.

`pending → running → succeeded | failed | cancelled`, `pending → cancelled`, and one way to rest:
`running → paused → running`, `paused → cancelled`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from app.domain.decider import Accepted, Context, Decider, Recorded, Rejection, not_found, wire_types
from app.domain.hyperparameters import Hyperparameters

RETRIES_AFTER_START = 3

Status = Literal["pending", "running", "paused", "succeeded", "failed", "cancelled"]
Blame = Literal["user", "platform"]
Method = Literal["supervised", "dpo"]
Export = Literal["adapter", "merged"]
LossReason = Literal[
    "worker_lost", "stalled", "order_declined", "child_died", "worker_error", "preempted", "drained"
]

GivenBack = Literal["preempted", "drained"]

# Attempts that were given back at their last checkpoint because somebody wanted the devices: nothing went
# wrong, so these use up no retry, and the next attempt need not wait.
GIVEN_BACK: frozenset[LossReason] = frozenset(get_args(GivenBack))


class ModelRef(Struct, frozen=True):
    """A base model at an exact revision."""

    id: str
    revision: str


class FileRef(Struct, frozen=True):
    """A file by id and content, which lies at `key` in the store. `bytes` and `rows` are counts.

    `longest_row` is about how many tokens its longest row has; 0 when nobody counted.
    """

    id: str
    sha256: str
    key: str
    bytes: int
    rows: int
    longest_row: int = 0


class Attempt(Struct, frozen=True):
    """Attempt `number`, from 1, on a slot of a worker in one session: one life of the worker's process."""

    number: int
    worker: str
    session: str
    slot: int


class EpochResult(Struct, frozen=True):
    """Mean losses in nats per token after `epoch`, from 1; `eval_loss` is None without a validation file."""

    epoch: Annotated[int, Meta(description="Its number, from 1.")]
    step: Annotated[int, Meta(description="Optimizer steps that were taken by its end.")]
    train_loss: Annotated[float, Meta(description="Mean over the epoch, in nats per token.")]
    eval_loss: Annotated[
        float | None, Meta(description="On the validation file, in nats per token; null without one.")
    ]


class Checkpoint(Struct, frozen=True):
    """A complete, verified checkpoint after `step` optimizer steps, and where it stands in the data.

    `epoch` counts complete epochs, `batch` the batches trained on in the one under way. `key` is its place in
    the object store, `sha256` the digest of its manifest, `bytes` the size of all its files.
    """

    step: int
    epoch: int
    batch: int
    key: str
    sha256: str
    bytes: int


class Reduction(Struct, frozen=True):
    """How a run that was out of memory goes on after `step`: fewer rows at a time, their sum unchanged."""

    step: int
    rows_at_a_time: int
    gradient_accumulation: int
    gradient_checkpointing: bool = False


class ResultFile(Struct, frozen=True):
    """A file the tuning made; `key` is its place in the object store."""

    id: str
    name: str
    bytes: int
    sha256: str
    key: str


class WarmStart(Struct, frozen=True):
    """The tuned model that training goes on from, the tuning that made it, and the files of its adapter."""

    model: str
    tuning_id: str
    files: tuple[ResultFile, ...]


class Failure(Struct, frozen=True):
    """Why a tuning failed: a stable code, whose fault it is, and a sentence that says what to do."""

    code: str
    blame: Blame
    message: str
    param: str | None = None
    retryable: bool = False


# Commands


class CreateTuning(Struct, frozen=True):
    """Every reference resolved and every `auto` value filled in. `memory` is the estimate, in bytes.

    With a `labels_hash`, that of a preview, the run fails if it would train anything else. `rerun_of` is the
    tuning that this one repeats. `export` is what is made beside the adapter; of at most `example_losses`
    training rows the losses are told one by one, None: of as many as take little time.
    """

    account_id: str
    model: ModelRef
    training_file: FileRef
    validation_file: FileRef | None
    hyperparameters: Hyperparameters
    method: Method = "supervised"
    suffix: str | None = None
    metadata: dict[str, str] = {}
    seed: int = 0
    priority: int = 0
    memory: int = 0
    request_hash: str = ""
    warm_start: WarmStart | None = None
    labels_hash: str | None = None
    rerun_of: str | None = None
    export: Export = "adapter"
    example_losses: int | None = None


class AssignAttempt(Struct, frozen=True):
    """Give the tuning's next attempt to a worker's slot."""

    attempt: Attempt


class ReportStarted(Struct, frozen=True):
    """The attempt's child process has taken its plan."""

    attempt: int
    session: str


class ReportEpoch(Struct, frozen=True):
    """An epoch is complete."""

    attempt: int
    session: str
    result: EpochResult


class ReportCheckpoint(Struct, frozen=True):
    """A checkpoint is in the store and was read back."""

    attempt: int
    session: str
    checkpoint: Checkpoint


class ReportMemoryReduced(Struct, frozen=True):
    """The attempt was out of memory, and goes on with less."""

    attempt: int
    session: str
    reduction: Reduction


class ReportPaused(Struct, frozen=True):
    """The attempt came to rest because it was asked to; its devices are free."""

    attempt: int
    session: str


class ReportSucceeded(Struct, frozen=True):
    """The adapter was read back from the store and loaded by stock PEFT; `memory_peak` as in the event."""

    attempt: int
    session: str
    train_loss: float
    eval_loss: float | None
    trained_tokens: int
    result_files: tuple[ResultFile, ...]
    memory_peak: int = 0


class ReportFailed(Struct, frozen=True):
    """The attempt ended with a reason that another attempt would meet as well."""

    attempt: int
    session: str
    failure: Failure
    result_files: tuple[ResultFile, ...] = ()


class ReportLost(Struct, frozen=True):
    """The attempt is gone, for a reason that says nothing against another one."""

    attempt: int
    session: str
    reason: LossReason


class PreemptAttempt(Struct, frozen=True):
    """Have this attempt's devices given back: another tuning is to have them first, or its worker none."""

    attempt: int
    session: str
    reason: GivenBack = "preempted"


class PauseTuning(Struct, frozen=True):
    """Bring the tuning to rest: finish the step, keep a checkpoint, free the devices."""


class ResumeTuning(Struct, frozen=True):
    """Let a paused tuning go on from its last checkpoint."""


class CancelTuning(Struct, frozen=True):
    """End the tuning at once."""


class UpdateTuning(Struct, frozen=True):
    """Give the tuning another priority, or other metadata; None leaves it as it is."""

    priority: int | None = None
    metadata: dict[str, str] | None = None


# Events


class Created(Struct, frozen=True):
    """Accepted: model revision, file digests and every `auto` value resolved. `memory` is in bytes.

    `labels_hash` is the preview's, `rerun_of` the tuning that this one repeats, `export` what is made beside
    the adapter; of at most `example_losses` training rows the losses are told one by one.
    """

    account_id: str
    model: ModelRef
    training_file: FileRef
    validation_file: FileRef | None
    hyperparameters: Hyperparameters
    method: Method
    suffix: str | None
    metadata: dict[str, str]
    seed: int
    priority: int
    memory: int
    request_hash: str
    warm_start: WarmStart | None = None
    labels_hash: str | None = None
    rerun_of: str | None = None
    export: Export = "adapter"
    example_losses: int | None = None


class Dispatched(Struct, frozen=True):
    """An attempt was given to a worker's slot; its order left in the same transaction."""

    attempt: Attempt


class Started(Struct, frozen=True):
    """Once a job: the first attempt's child process has taken its plan."""

    attempt: int


class EpochCompleted(Struct, frozen=True):
    """An epoch is complete."""

    attempt: int
    result: EpochResult


class CheckpointSaved(Struct, frozen=True):
    """A complete, verified checkpoint is in the object store."""

    attempt: int
    checkpoint: Checkpoint


class MemoryReduced(Struct, frozen=True):
    """The run was out of memory, and goes on with fewer rows at a time; what is learned stays the same."""

    attempt: int
    reduction: Reduction


class PauseRequested(Struct, frozen=True):
    """The attempt was told to come to rest; `attempt` is None when none was under way."""

    attempt: int | None


class Paused(Struct, frozen=True):
    """The job rests at its last checkpoint; its devices are free."""

    attempt: int | None


class Resumed(Struct, frozen=True):
    """A paused job waits for an attempt that goes on from its last checkpoint."""


class AttemptLost(Struct, frozen=True):
    """The attempt is gone for a reason that says nothing against another one; the status stays."""

    attempt: int
    reason: LossReason


class Succeeded(Struct, frozen=True):
    """The adapter was read back from the store and loaded by stock PEFT. Losses in nats per token.

    `memory_peak` in bytes is the most that the attempt's process held at once; 0 when nobody looked.
    """

    attempt: int
    fine_tuned_model: str
    train_loss: float
    eval_loss: float | None
    trained_tokens: int
    result_files: tuple[ResultFile, ...]
    memory_peak: int = 0


class Failed(Struct, frozen=True):
    """The job ended with a stable code, whose fault it is, and a sentence that says what to do."""

    attempt: int
    failure: Failure
    result_files: tuple[ResultFile, ...] = ()


class Cancelled(Struct, frozen=True):
    """The job was ended at once; `attempt` is the one that was told to stop."""

    attempt: int | None


class Updated(Struct, frozen=True):
    """The job has another priority, or other metadata, from now on; None: as before."""

    priority: int | None = None
    metadata: dict[str, str] | None = None


# Orders for trainer workers; each goes to one worker and holds for one session of it


class RunAttempt(Struct, frozen=True, tag="run"):
    """Run this attempt, as `tuning` says."""

    attempt: Attempt
    tuning: Tuning


class StopAttempt(Struct, frozen=True, tag="stop"):
    """Stop this attempt if it runs in this session, and free its devices."""

    tuning_id: str
    attempt: int
    worker: str
    session: str
    reason: str


class PauseAttempt(Struct, frozen=True, tag="pause"):
    """Bring this attempt to rest if it runs in this session: finish the step, keep a checkpoint."""

    tuning_id: str
    attempt: int
    worker: str
    session: str


class HandBackAttempt(Struct, frozen=True, tag="hand_back"):
    """Give this attempt back if it runs here: as for a pause, but reported lost for that reason."""

    tuning_id: str
    attempt: int
    worker: str
    session: str
    reason: LossReason


Order = RunAttempt | StopAttempt | PauseAttempt | HandBackAttempt


class Tuning(Struct, frozen=True):
    """A tuning as its events made it. `pausing` is that a pause was asked for.

    `checkpoint` is the newest, of attempt `checkpoint_attempt`. `reduction` is how it goes on after it was
    out of memory, `memory_peak` the most it held, in bytes.
    `moved_at` is since when it has its attempt, or waits for one; None: since it was created.
    `device_seconds` is how long those that are over held a device, `lost_for` why the last one was lost.
    """

    id: str
    account_id: str
    model: ModelRef
    training_file: FileRef
    validation_file: FileRef | None
    hyperparameters: Hyperparameters
    method: Method
    suffix: str | None
    metadata: dict[str, str]
    seed: int
    priority: int
    memory: int
    request_hash: str
    created_at: datetime
    status: Status = "pending"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: Attempt | None = None
    attempts: int = 0
    losses_after_start: int = 0
    lost_at: datetime | None = None
    pausing: bool = False
    checkpoint: Checkpoint | None = None
    epochs: tuple[EpochResult, ...] = ()
    train_loss: float | None = None
    eval_loss: float | None = None
    trained_tokens: int | None = None
    fine_tuned_model: str | None = None
    result_files: tuple[ResultFile, ...] = ()
    failure: Failure | None = None
    warm_start: WarmStart | None = None
    labels_hash: str | None = None
    rerun_of: str | None = None
    export: Export = "adapter"
    example_losses: int | None = None
    reduction: Reduction | None = None
    memory_peak: int = 0
    checkpoint_attempt: int = 0
    moved_at: datetime | None = None
    device_seconds: float = 0.0
    lost_for: LossReason | None = None

    def result(self, name: str) -> ResultFile | None:
        """The file of this name that it made."""
        return next((file for file in self.result_files if file.name == name), None)

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status in ("succeeded", "failed", "cancelled")


Report = (
    ReportStarted
    | ReportEpoch
    | ReportCheckpoint
    | ReportMemoryReduced
    | ReportPaused
    | ReportSucceeded
    | ReportFailed
    | ReportLost
)


def decide(tuning: Tuning | None, command: Any, context: Context) -> Accepted | Rejection:
    """Events and orders for a command, or why not."""
    if isinstance(command, CreateTuning):
        return _create(tuning, command)
    if tuning is None:
        return not_found("tuning", context)
    match command:
        case AssignAttempt():
            return _assign(tuning, command)
        case PreemptAttempt():
            return _preempt(tuning, command)
        case CancelTuning():
            return _cancel(tuning)
        case PauseTuning():
            return _pause(tuning)
        case ResumeTuning():
            return _resume(tuning)
        case UpdateTuning():
            return _update(tuning, command)
    return _report(tuning, command, context)


def _create(tuning: Tuning | None, command: CreateTuning) -> Accepted | Rejection:
    if tuning is None:
        return Accepted((Created(**{name: getattr(command, name) for name in command.__struct_fields__}),))
    if tuning.request_hash == command.request_hash:
        return Accepted()
    return Rejection("idempotency_conflict", "this Idempotency-Key was used before, for another request")


def _assign(tuning: Tuning, command: AssignAttempt) -> Accepted | Rejection:
    if tuning.ended or tuning.status == "paused":
        return illegal(tuning, "dispatched")
    if tuning.attempt == command.attempt:
        return Accepted()
    if tuning.attempt is not None:
        return Rejection("attempt_taken", f"attempt {tuning.attempt.number} of {tuning.id} is not over yet")
    if command.attempt.number != tuning.attempts + 1:
        return Rejection("attempt_superseded", f"the next attempt of {tuning.id} is {tuning.attempts + 1}")
    ordered = replace(tuning, attempt=command.attempt, attempts=command.attempt.number)
    return Accepted((Dispatched(command.attempt),), (RunAttempt(command.attempt, ordered),))


def _preempt(tuning: Tuning, command: PreemptAttempt) -> Accepted | Rejection:
    if tuning.ended:
        return illegal(tuning, "preempted", "be")
    attempt = tuning.attempt
    if attempt is None or (attempt.number, attempt.session) != (command.attempt, command.session):
        return _over(tuning, command.attempt)
    if tuning.pausing:  # it comes to rest anyway
        return Accepted()
    order = HandBackAttempt(tuning.id, attempt.number, attempt.worker, attempt.session, command.reason)
    return Accepted((), (order,))


def _cancel(tuning: Tuning) -> Accepted | Rejection:
    if tuning.status == "cancelled":
        return Accepted()
    if tuning.ended:
        return illegal(tuning, "cancelled")
    attempt = tuning.attempt
    return Accepted(
        (Cancelled(attempt.number if attempt else None),),
        (_stop(tuning, attempt, "cancelled"),) if attempt else (),
    )


def _pause(tuning: Tuning) -> Accepted | Rejection:
    if tuning.status == "paused" or tuning.pausing:
        return Accepted()
    if tuning.status != "running":
        return illegal(tuning, "paused")
    attempt = tuning.attempt
    if attempt is None:  # between two attempts nothing holds devices
        return Accepted((PauseRequested(None), Paused(None)))
    order = PauseAttempt(tuning.id, attempt.number, attempt.worker, attempt.session)
    return Accepted((PauseRequested(attempt.number),), (order,))


def _resume(tuning: Tuning) -> Accepted | Rejection:
    if tuning.pausing:
        message = f"tuning {tuning.id} is running until it is paused, and cannot be resumed before that"
        return Rejection("invalid_state_transition", message)
    if tuning.status == "running":
        return Accepted()
    if tuning.status != "paused":
        return illegal(tuning, "resumed", "be")
    return Accepted((Resumed(),))


def _update(tuning: Tuning, command: UpdateTuning) -> Accepted | Rejection:
    if tuning.ended:
        return illegal(tuning, "updated", "be")
    changes = {
        name: wanted
        for name, wanted in asdict(command).items()
        if wanted is not None and wanted != getattr(tuning, name)
    }
    return Accepted((Updated(**changes),)) if changes else Accepted()


def _report(tuning: Tuning, report: Report, context: Context) -> Accepted | Rejection:
    attempt = tuning.attempt
    if attempt is None or (attempt.number, attempt.session) != (report.attempt, report.session):
        return _superseded(tuning, report, context)
    match report:
        case ReportLost(reason=reason):
            lost = AttemptLost(attempt.number, reason)
            stop = _stop(tuning, attempt, reason)
            if tuning.pausing:
                return Accepted((lost, Paused(attempt.number)), (stop,))
            spent = tuning.losses_after_start >= RETRIES_AFTER_START and reason not in GIVEN_BACK
            if tuning.status == "running" and spent:
                message = (
                    f"the attempt was lost {tuning.losses_after_start + 1} times ({reason}); "
                    "ask the operator for the workers' logs, then create the tuning again"
                )
                failure = Failure("attempts_exhausted", "platform", message, retryable=True)
                return Accepted((lost, Failed(attempt.number, failure)), (stop,))
            return Accepted((lost,), (stop,))
        case ReportStarted():
            return Accepted((Started(attempt.number),)) if tuning.status == "pending" else Accepted()
    if tuning.status != "running":
        return illegal(tuning, _target(report))
    match report:
        case ReportEpoch(result=result):
            expected = len(tuning.epochs) + 1
            if result.epoch < expected:
                return Accepted()  # an earlier attempt completed it
            hyper = tuning.hyperparameters
            # How many epochs so many steps over packed rows are, only the trainer knows.
            most = expected if hyper.packing and hyper.max_steps else hyper.epochs
            if result.epoch > min(expected, most):
                return Rejection(
                    "epoch_out_of_order",
                    f"epoch {result.epoch} of {tuning.id} was reported, {expected} is due of {hyper.epochs}",
                )
            return Accepted((EpochCompleted(attempt.number, result),))
        case ReportCheckpoint(checkpoint=checkpoint):
            return Accepted(
                (CheckpointSaved(attempt.number, checkpoint),) if _newer(tuning, checkpoint) else ()
            )
        case ReportMemoryReduced(reduction=reduction):
            return Accepted((MemoryReduced(attempt.number, reduction),))
        case ReportPaused():
            return Accepted((Paused(attempt.number),)) if tuning.pausing else illegal(tuning, "paused")
        case ReportSucceeded():
            return Accepted(
                (
                    Succeeded(
                        attempt.number,
                        tuned_model_id(tuning),
                        report.train_loss,
                        report.eval_loss,
                        report.trained_tokens,
                        report.result_files,
                        report.memory_peak,
                    ),
                )
            )
        case ReportFailed():
            return Accepted((Failed(attempt.number, report.failure, report.result_files),))
    raise TypeError(f"not a report: {report!r}")


def _newer(tuning: Tuning, checkpoint: Checkpoint) -> bool:
    """Whether the attempt under way has a checkpoint to tell of.

    It went on from the newest that it could use: whatever it saves is news, however far an earlier one came.
    """
    known, attempt = tuning.checkpoint, tuning.attempt
    if known is None or attempt is None or attempt.number != tuning.checkpoint_attempt:
        return True
    return checkpoint.step >= known.step and checkpoint.key != known.key


def _superseded(tuning: Tuning, report: Report, context: Context) -> Rejection:
    """Refuse what a superseded attempt says, and order whoever says it to stop."""
    worker = context.actor.removeprefix("worker:") if context.actor.startswith("worker:") else None
    orders = (StopAttempt(tuning.id, report.attempt, worker, report.session, "superseded"),) if worker else ()
    if tuning.ended:
        return replace(illegal(tuning, _target(report)), orders=orders)
    return replace(_over(tuning, report.attempt), orders=orders)


def _over(tuning: Tuning, attempt: int) -> Rejection:
    now = f"attempt {tuning.attempt.number} is under way" if tuning.attempt else "none is under way"
    return Rejection("attempt_superseded", f"attempt {attempt} of {tuning.id} is over; {now}")


def _stop(tuning: Tuning, attempt: Attempt, reason: str) -> StopAttempt:
    return StopAttempt(tuning.id, attempt.number, attempt.worker, attempt.session, reason)


def _target(report: Report) -> str:
    match report:
        case ReportSucceeded():
            return "succeeded"
        case ReportFailed():
            return "failed"
        case ReportLost():
            return "attempt_lost"
        case ReportPaused():
            return "paused"
        case ReportStarted() | ReportEpoch() | ReportCheckpoint() | ReportMemoryReduced():
            return "running"


def illegal(tuning: Tuning, target: str, verb: str = "become") -> Rejection:
    """An illegal transition, both states named."""
    return Rejection(
        "invalid_state_transition", f"tuning {tuning.id} is {tuning.status} and cannot {verb} {target}"
    )


def tuned_model_id(tuning: Tuning) -> str:
    """`ft:<base>:<suffix>:<job id>`; the suffix may be empty."""
    return f"ft:{tuning.model.id}:{tuning.suffix or ''}:{tuning.id}"


def evolve(tuning: Tuning | None, event: Any, recorded: Recorded) -> Tuning:
    """The tuning after `event`."""
    if tuning is None:
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        return Tuning(id=recorded.aggregate_id, created_at=recorded.at, **fields)
    after = _evolve(tuning, event, recorded)
    if isinstance(event, Dispatched | Resumed):
        return replace(after, moved_at=recorded.at)
    if tuning.attempt is None or after.attempt is not None:
        return after
    held = (recorded.at - tuning.moved_at).total_seconds() if tuning.moved_at is not None else 0.0
    why = event.reason if isinstance(event, AttemptLost) else after.lost_for
    return replace(after, moved_at=recorded.at, device_seconds=tuning.device_seconds + held, lost_for=why)


def _evolve(tuning: Tuning, event: Any, recorded: Recorded) -> Tuning:
    match event:
        case Dispatched(attempt=attempt):
            return replace(tuning, attempt=attempt, attempts=attempt.number)
        case Started():
            return replace(tuning, status="running", started_at=recorded.at)
        case EpochCompleted(result=result):
            return replace(
                tuning,
                epochs=(*tuning.epochs, result),
                train_loss=result.train_loss,
                eval_loss=result.eval_loss,
            )
        case CheckpointSaved(attempt=number, checkpoint=checkpoint):
            return replace(tuning, checkpoint=checkpoint, checkpoint_attempt=number)
        case MemoryReduced(reduction=reduction):
            return replace(tuning, reduction=reduction)
        case PauseRequested():
            return replace(tuning, pausing=True)
        case Paused():
            return replace(tuning, status="paused", pausing=False, attempt=None)
        case Resumed():
            return replace(tuning, status="running", lost_at=None)
        case AttemptLost(reason=reason) if reason in GIVEN_BACK:
            return replace(tuning, attempt=None)
        case AttemptLost():
            losses = tuning.losses_after_start + (tuning.status == "running")
            return replace(tuning, attempt=None, losses_after_start=losses, lost_at=recorded.at)
        case Succeeded():
            return replace(
                tuning,
                status="succeeded",
                attempt=None,
                pausing=False,
                finished_at=recorded.at,
                **{name: value for name, value in asdict(event).items() if name != "attempt"},
            )
        case Failed(failure=failure, result_files=result_files):
            return replace(
                tuning,
                status="failed",
                attempt=None,
                pausing=False,
                finished_at=recorded.at,
                failure=failure,
                result_files=result_files,
            )
        case Cancelled():
            return replace(tuning, status="cancelled", attempt=None, pausing=False, finished_at=recorded.at)
        case Updated():
            changes = {name: value for name, value in asdict(event).items() if value is not None}
            return replace(tuning, **changes)
    raise TypeError(f"not an event of tunings: {event!r}")


TUNINGS = Decider(
    stream="tunings",
    noun="tuning",
    state=Tuning,
    commands=wire_types(
        "tuning",
        CreateTuning,
        AssignAttempt,
        ReportStarted,
        ReportEpoch,
        ReportCheckpoint,
        ReportMemoryReduced,
        ReportPaused,
        ReportSucceeded,
        ReportFailed,
        ReportLost,
        PreemptAttempt,
        PauseTuning,
        ResumeTuning,
        CancelTuning,
        UpdateTuning,
    ),
    events=wire_types(
        "tuning",
        Created,
        Dispatched,
        Started,
        EpochCompleted,
        CheckpointSaved,
        MemoryReduced,
        AttemptLost,
        PauseRequested,
        Paused,
        Resumed,
        Succeeded,
        Failed,
        Cancelled,
        Updated,
    ),
    decide=decide,
    evolve=evolve,
)
