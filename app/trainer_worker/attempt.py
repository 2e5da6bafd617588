"""One attempt: files fetched, plan handed over, frames turned into reports, the adapter stored and proved.

It ends by itself, or is brought to rest: left after a step, with a checkpoint that the next one goes on from.
"""

from __future__ import annotations

import asyncio
import functools
import re
import shutil
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from app.catalogue.catalogue import CATALOGUE
from app.catalogue.files import ModelError
from app.catalogue.memory import MemoryEstimate, estimate
from app.domain.ids import derive_id
from app.domain.tunings import (
    EpochResult,
    Failure,
    LossReason,
    Reduction,
    ReportEpoch,
    ReportFailed,
    ReportLost,
    ReportMemoryReduced,
    ReportPaused,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
    RunAttempt,
    Tuning,
)
from app.log import metrics
from app.storage.store import ObjectMissing, Store
from app.trainer_worker import kernel
from app.trainer_worker.attempt_log import leave_log
from app.trainer_worker.checkpoints import Uploads, fetch_newest, newest_written
from app.trainer_worker.child import Child, ChildDied
from app.trainer_worker.patience import patiently
from app.trainer_worker.reports import Reports
from app.trainer_worker.training import frames
from app.trainer_worker.training.plan import (
    CHECKPOINT_SECONDS,
    STALL_SECONDS,
    Merge,
    Plan,
    Rest,
    Train,
    Verify,
    processes_for,
)

logger = structlog.get_logger("trainer_worker")

Tell = Callable[[str, int, float | None], None]
AtHand = Callable[[], Awaitable[Path]]

# In an attempt's folder.
TRAINING, VALIDATION, WARM_START = "training.jsonl", "validation.jsonl", "warm_start"
OUTPUT, RESUME, UPLOADING = "output", "resume", "uploading"
LEFT_WITHIN = 60.0  # for the last checkpoint of a child that died
READ_BACK = "read_back"
PATH = re.compile(r"(?<![\w/:.])/(?:[^\s:;,'\"/]+/)+([^\s:;,'\"/]+)")
ADAPTER = "adapter/"  # what the names of an adapter's files begin with


class UnusableFile(Exception):
    """A file that the tuning needs is not there, or not the one that was accepted; `param` names it."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class Resting:
    """That an attempt is to come to rest: why, and within how many seconds; asked once, it stays so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.reason: LossReason | None = None
        self.within = 0.0

    def ask(self, within: float, reason: LossReason | None = None) -> None:
        """Ask for it: for a pause, or to hand the attempt back for this reason."""
        if not self.asked.is_set():
            self.reason, self.within = reason, within
            self.asked.set()


async def run_attempt(
    order: RunAttempt,
    child: Child,
    at_hand: AtHand,
    folder: Path,
    store: Store,
    reports: Reports,
    tell: Tell,
    resting: Resting,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    stall_seconds: float = STALL_SECONDS,
) -> None:
    """Carry an order out on a warm child, work files in `folder`; `tell` hears phase, step and seconds left.

    `at_hand` gives the folder of the model, however long that takes.

    Always ends with a report, unless it is cancelled.
    """
    tuning, attempt = order.tuning, order.attempt
    log = logger.bind(job_id=tuning.id, attempt=attempt.number)
    log.info("attempt_begun", worker=attempt.worker, session=attempt.session)
    uploads = Uploads(tuning.id, attempt, folder / UPLOADING, store, reports)
    conversation = _Conversation(order, child, folder, store, reports, tell, uploads)

    async def work() -> bool:
        """Whether it came to its end and that was reported; else it was left."""
        try:
            await patiently(lambda: _fetch(tuning, folder, store))
            await patiently(lambda: fetch_newest(tuning, folder / RESUME, store))
            model_dir = await at_hand()
        except (UnusableFile, ModelError) as error:
            await reports.report(
                tuning.id, attempt, "started", ReportStarted(attempt.number, attempt.session)
            )
            await conversation.fail(failure_of(error))
            return True
        plan = plan_of(order, model_dir, folder, child, checkpoint_seconds, stall_seconds)
        if child.ready is not None and child.ready.processes > 1:
            log.info("attempt_shared", processes=plan.processes, devices=child.ready.processes)
        return await conversation.follow(plan)

    killed = kernel.killed_for_memory()
    working, uploading = asyncio.create_task(work()), asyncio.create_task(uploads.run())
    asked = asyncio.create_task(resting.asked.wait())
    reason: LossReason | None = "child_died"
    try:
        await asyncio.wait([working, asked], return_when=asyncio.FIRST_COMPLETED)
        try:
            if not working.done():
                log.info("attempt_to_rest", reason=resting.reason or "paused", within=resting.within)
                reason = resting.reason
                async with asyncio.timeout(resting.within):
                    if conversation.begun:
                        await child.send(Rest())
                        await working
                        await uploads.settled()
            if working.done() and working.result():
                return
        except TimeoutError:
            log.warning("rest_took_too_long", seconds=resting.within)
        except ChildDied as error:
            log.warning("child_died", error=str(error), output=_tail(child.output))
            if error.status == -signal.SIGKILL and kernel.killed_for_memory() > killed:
                await conversation.reduce_memory()
            await _save_what_is_left(uploads, folder, log)
        working.cancel()
        await child.stop()
        await leave_log(store, tuning.id, attempt.number, child.output)
        if reason is None:
            await reports.report(tuning.id, attempt, "paused", ReportPaused(attempt.number, attempt.session))
        else:
            lost = ReportLost(attempt.number, attempt.session, reason)
            await reports.report(tuning.id, attempt, "lost", lost)
        log.info("attempt_left", reason=reason or "paused")
    finally:
        for task in (working, uploading, asked):
            task.cancel()
        await asyncio.gather(working, uploading, asked, return_exceptions=True)
        shutil.rmtree(folder, ignore_errors=True)


async def _save_what_is_left(uploads: Uploads, folder: Path, log: Any) -> None:
    """Bring the last checkpoint of a child that is dead into the store, if that goes soon."""
    if (newest := await asyncio.to_thread(newest_written, folder / OUTPUT / "checkpoints")) is not None:
        uploads.offer(newest.folder)
    try:
        async with asyncio.timeout(LEFT_WITHIN):
            await uploads.settled()
    except TimeoutError:
        log.warning("last_checkpoint_not_stored", seconds=LEFT_WITHIN)


def failure_of(error: UnusableFile | ModelError) -> Failure:
    """What a tuning fails with that cannot be begun."""
    if isinstance(error, ModelError):
        told = PATH.sub(r"…/\1", str(error))  # where things lie on this machine is for its operator's log
        return Failure(error.code, "platform", told, "model", error.retryable)
    return Failure("file_unusable", "platform", str(error), error.param)


class _Conversation:
    """What the child says, and what follows from it."""

    def __init__(
        self,
        order: RunAttempt,
        child: Child,
        folder: Path,
        store: Store,
        reports: Reports,
        tell: Tell,
        uploads: Uploads,
    ) -> None:
        self._tuning, self._attempt = order.tuning, order.attempt
        self._child, self._folder, self._store, self._reports = child, folder, store, reports
        self._tell, self._uploads = tell, uploads
        self._step, self._epochs = 0, order.tuning.hyperparameters.epochs
        self._metric: metrics.Step | None = None
        self._plan: Plan | None = None
        self.begun = False  # to train: before that there is nothing to be kept
        self._started = False
        self._log = logger.bind(job_id=order.tuning.id, attempt=order.attempt.number)

    async def follow(self, plan: Plan) -> bool:
        """Hand over the plan and hear the child out: whether its end was reported, or it was left."""
        self._plan = plan
        await self._child.send(Train(plan))
        saved: frames.Saved | None = None
        results: tuple[ResultFile, ...] = ()
        number, session = self._attempt.number, self._attempt.session
        while True:
            frame = await self._child.next_frame()
            match frame:
                case frames.Phase(phase=phase):
                    if not self._started:
                        self._started = True
                        await self._report("started", ReportStarted(number, session))
                    self._tell(phase, self._step, self._metric.seconds_left if self._metric else None)
                    await self._reports.metric(self._tuning.id, metrics.Phase(number, phase))
                case frames.Planned():
                    self.begun = True
                    self._epochs = frame.total_epochs
                    self._log.info(
                        "training_planned",
                        steps=frame.total_steps,
                        rows=frame.train_rows,
                        done_steps=frame.done_steps,
                    )
                case frames.Step():
                    self._step, self._metric = frame.step, self._metric_of(frame)
                    self._tell("training", frame.step, frame.seconds_left)
                    await self._reports.metric(self._tuning.id, self._metric)
                case frames.Evaluation() if self._metric is not None:  # of the step that was told last
                    evaluated = msgspec.structs.replace(self._metric, eval_loss=frame.eval_loss)
                    await self._reports.metric(self._tuning.id, evaluated)
                case frames.Epoch():
                    result = EpochResult(frame.epoch, frame.step, frame.train_loss, frame.eval_loss)
                    await self._report(f"epoch-{frame.epoch}", ReportEpoch(number, session, result))
                case frames.Checkpointed():
                    self._uploads.offer(Path(frame.folder))
                case frames.CheckpointSkipped():
                    self._log.warning("checkpoint_skipped", step=frame.step, reason=frame.reason)
                case frames.Reduced():
                    await self._reduced(Reduction(**msgspec.structs.asdict(frame)))
                case frames.Rested():
                    return False
                case frames.Saved():
                    saved = frame
                    results, read_back = await patiently(functools.partial(self._proved, frame))
                    await self._child.send(Verify(str(read_back)))
                case frames.Verified() if saved is not None:
                    self._log.info("adapter_verified", logit_difference=frame.max_logit_difference)
                    if self._tuning.export != "merged":
                        await self._succeed(saved, results)
                        return True
                    await self._child.send(Merge(str(self._folder / READ_BACK)))
                case frames.Merged() if saved is not None:
                    self._log.info("adapter_merged", logit_difference=frame.mean_logit_difference)
                    merged = await patiently(functools.partial(self._stored, merged=frame.merged_dir))
                    await self._succeed(saved, (*results, *merged))
                    return True
                case frames.Failed():
                    self._log.error(
                        "training_failed",
                        code=frame.code,
                        error=frame.message,
                        gpu_memory_used=f"{frame.memory_peak / 1024**3:.1f} GB",
                    )
                    failure = Failure(frame.code, frame.blame, frame.message, frame.param, frame.retryable)
                    await self.fail(failure)
                    return True

    async def reduce_memory(self) -> None:
        """Let the next attempt need less memory than this one, which was killed for having taken too much."""
        if self._plan is not None and (reduction := self._plan.reduced(self._step)) is not None:
            await self._reduced(reduction)

    async def _reduced(self, reduction: Reduction) -> None:
        assert self._plan is not None
        self._plan = msgspec.structs.replace(self._plan, reduction=reduction)
        what = f"reduced-{reduction.rows_at_a_time}-{reduction.gradient_checkpointing:d}"
        number, session = self._attempt.number, self._attempt.session
        await self._report(what, ReportMemoryReduced(number, session, reduction))

    async def _succeed(self, saved: frames.Saved, results: tuple[ResultFile, ...]) -> None:
        report = ReportSucceeded(
            self._attempt.number,
            self._attempt.session,
            saved.train_loss,
            saved.eval_loss,
            saved.trained_tokens,
            results,
            saved.memory_peak,
        )
        await self._end("succeeded", report)

    async def fail(self, failure: Failure) -> None:
        """Report a failure, with what results there are."""
        curve = self._folder / OUTPUT / "results" / "metrics.jsonl"
        results: tuple[ResultFile, ...] = ()
        if curve.exists():
            results = (await patiently(lambda: self._put(curve, "results/metrics.jsonl")),)
        report = ReportFailed(self._attempt.number, self._attempt.session, failure, results)
        await self._end("failed", report)

    async def _end(self, what: str, body: object) -> None:
        """The last report: whoever hears of it finds the log."""
        await leave_log(self._store, self._tuning.id, self._attempt.number, self._child.output)
        await self._report(what, body)

    async def _report(self, what: str, body: object) -> None:
        await self._reports.report(self._tuning.id, self._attempt, what, body)

    def _metric_of(self, frame: frames.Step) -> metrics.Step:
        return metrics.Step(
            attempt=self._attempt.number,
            step=frame.step,
            epoch=frame.epoch,
            loss=frame.loss,
            learning_rate=frame.learning_rate,
            grad_norm=frame.grad_norm,
            tokens=frame.tokens,
            tokens_per_second=frame.tokens_per_second,
            seconds_left=frame.seconds_left,
            total_steps=frame.total_steps,
            total_epochs=self._epochs,
            memory_peak=frame.memory_peak,
            device=self._child.ready.device if self._child.ready is not None else "",
        )

    async def _proved(self, saved: frames.Saved) -> tuple[tuple[ResultFile, ...], Path]:
        """The results, stored, and the adapter as the store gives it: what a user will download."""
        results = await self._stored(adapter=saved.adapter_dir, results=saved.results_dir)
        return results, await _adapter(results, self._folder / READ_BACK, self._store)

    async def _stored(self, **folders: str) -> tuple[ResultFile, ...]:
        """The files of folders, stored by the names that these are given."""
        return tuple(
            [
                await self._put(path, f"{kind}/{path.relative_to(base)}")
                for kind, base in folders.items()
                for path in sorted(Path(base).rglob("*"))
                if path.is_file()
            ]
        )

    async def _put(self, path: Path, name: str) -> ResultFile:
        key = f"tunings/{self._tuning.id}/{self._attempt.number}/{name}"
        stored = await self._store.put_file(key, path)
        id = derive_id("file", self._tuning.id, str(self._attempt.number), name)
        return ResultFile(id, name, stored.bytes, stored.sha256, key)


def plan_of(
    order: RunAttempt,
    model_dir: Path,
    folder: Path,
    child: Child,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    stall_seconds: float = STALL_SECONDS,
) -> Plan:
    """What the child is told: everything that training depends on, its files in `folder` among it."""
    tuning: Tuning = order.tuning
    assert child.ready is not None
    return Plan(
        job_id=tuning.id,
        attempt=order.attempt.number,
        seed=tuning.seed,
        model_id=tuning.model.id,
        model_revision=tuning.model.revision,
        model_dir=str(model_dir),
        training_file=str(folder / TRAINING),
        validation_file=str(folder / VALIDATION) if tuning.validation_file else None,
        training_sha256=tuning.training_file.sha256,
        validation_sha256=tuning.validation_file.sha256 if tuning.validation_file else None,
        hyperparameters=tuning.hyperparameters,
        method=tuning.method,
        warm_start=tuning.warm_start,
        warm_start_dir=str(folder / WARM_START) if tuning.warm_start else None,
        labels_hash=tuning.labels_hash,
        reduction=tuning.reduction,
        examples=tuning.example_losses,
        memory=_estimated(tuning),
        output_dir=str(folder / OUTPUT),
        checkpoint_seconds=checkpoint_seconds,
        resume_dir=str(folder / RESUME) if tuning.checkpoint is not None else None,
        device="cpu" if child.ready.device == "cpu" else "cuda:0",
        processes=processes_for(tuning.hyperparameters.batch_size, child.ready.processes),
        stall_seconds=stall_seconds,
    )


def _estimated(tuning: Tuning) -> MemoryEstimate | None:
    """By part what the tuning was given its devices by; None for a model that is not in the catalogue."""
    if (entry := CATALOGUE.get(tuning.model.id)) is None:
        return None
    longest = tuning.training_file.longest_row
    return estimate(entry, tuning.hyperparameters, method=tuning.method, longest_row=longest)


async def _fetch(tuning: Tuning, folder: Path, store: Store) -> None:
    """What the tuning trains on and goes on from, as it was accepted. Raises `UnusableFile`."""
    for param, file, name in (
        ("training_file", tuning.training_file, TRAINING),
        ("validation_file", tuning.validation_file, VALIDATION),
    ):
        if file is None:
            continue
        try:
            got = await store.get_file(file.key, folder / name)
        except ObjectMissing:
            raise UnusableFile(f"the bytes of {file.id} are gone; upload the file again", param) from None
        if got.sha256 != file.sha256:
            raise UnusableFile(f"{file.id} has other bytes than were uploaded; upload the file again", param)
    if (start := tuning.warm_start) is not None:
        try:
            await _adapter(start.files, folder / WARM_START, store)
        except (ObjectMissing, UnusableFile):
            told = f"the adapter of {start.model} is gone, or has other bytes than it was saved with"
            raise UnusableFile(f"{told}; go on from another model, or from the base", "model") from None


async def _adapter(files: Sequence[ResultFile], folder: Path, store: Store) -> Path:
    """The files of an adapter among a tuning's, in a folder. Raises `ObjectMissing`, `UnusableFile`."""
    for file in files:
        if file.name.startswith(ADAPTER):
            got = await store.get_file(file.key, folder / file.name.removeprefix(ADAPTER))
            if got.sha256 != file.sha256:
                raise UnusableFile(f"{file.key} came back from the store with other bytes", "model")
    return folder


def _tail(path: Path, lines: int = 5) -> str:
    try:
        return " | ".join(path.read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""
