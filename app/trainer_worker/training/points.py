"""The points at which a run can be left, and taken up again as if it never had been."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Struct
from msgspec.structs import replace
from transformers import TrainerCallback

from app.trainer_worker.training import checkpoints, randomness
from app.trainer_worker.training.checkpoints import Manifest, Part, Written
from app.trainer_worker.training.frames import Checkpointed, CheckpointSkipped, Frame
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.progress import Counted, Progress
from app.trainer_worker.training.randomness import Randomness
from app.trainer_worker.training.trainer import RowTrainer
from app.trainer_worker.training.weights import as_they_are, put_back

# Names that transformers gives what it reads itself.
OPTIMIZER, SCHEDULER, TRAINER_STATE = "optimizer.pt", "scheduler.pt", "trainer_state.json"
WEIGHTS, BEST, STATE, CURVE = "weights.pt", "best.pt", "state.json", "curve.jsonl"

LEAST_WORK = 100  # times as long as it takes to write a checkpoint: so long is trained before the next
OF_EPOCH = 0.2  # an epoch's end is worth a checkpoint after this share of the usual time


class AskedToRest(Exception):
    """The run was left after `step`, or at its beginning, because that was asked for."""

    def __init__(self, step: int | None) -> None:
        super().__init__("the run was left")
        self.step = step


class Over(Exception):
    """There is nothing left to train."""


class Share(Struct, frozen=True, kw_only=True):
    """What one process holds of that which is counted. Sums are losses and how many there were."""

    read_tokens: int
    trained_tokens: int
    training: tuple[float, int]
    evaluation: tuple[float, int]


class State(Share, frozen=True, kw_only=True):
    """What a run remembers at a point besides its tensors: the share of the first process, and the `others`'.

    The same number of processes goes on to the last bit. Another number takes the same rows in each step, but
    draws other numbers for dropout.
    """

    randomness: tuple[Randomness, ...]  # of each process
    counted: Counted
    rows_at_a_time: int
    others: tuple[Share, ...] = ()

    @property
    def shares(self) -> tuple[Share, ...]:
        """The share of each process."""
        return (self, *self.others)


def run_of(plan: Plan, labels_hash: str) -> str:
    """The digest of all that a run's outcome depends on; in how many parts a batch is taken is not of it."""
    hyper = replace(plan.hyperparameters, gradient_accumulation=1, checkpoints_kept=1)
    start = plan.warm_start and {file.name: file.sha256 for file in plan.warm_start.files}
    parts = (plan.model_id, plan.model_revision, plan.method, plan.seed, hyper, start, labels_hash)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def checkpoints_of(plan: Plan) -> Path:
    """The folder that the plan's run writes its checkpoints to."""
    return Path(plan.output_dir) / "checkpoints"


def to_go_on_from(plan: Plan, run: str) -> Written | None:
    """The checkpoint that the plan's run goes on from; those that are none are named in the log."""
    if plan.resume_dir is None:
        return None

    def skipped(folder: Path, why: str) -> None:
        print(f"checkpoint {folder.name} is skipped: {why}", file=sys.stderr, flush=True)

    found = checkpoints.newest(Path(plan.resume_dir), run, skipped)
    if found is None:
        print("no checkpoint can be gone on from: training begins", file=sys.stderr, flush=True)
    return found


class Points(TrainerCallback):
    """Writes checkpoints when they are due, and leaves the run when that is asked for.

    A point is after a step and all that follows from it, or within an evaluation, which is then gone on with.
    Of several processes the first decides and writes, and all are at the same point.
    """

    def __init__(
        self,
        plan: Plan,
        run: str,
        tell: Callable[[Frame], None],
        asked_to_rest: Callable[[], bool],
        trainer: RowTrainer,
        progress: Progress,
        per_epoch: int,
    ) -> None:
        self._plan, self._run, self._tell, self._asked = plan, run, tell, asked_to_rest
        self._trainer, self._progress, self._per_epoch = trainer, progress, per_epoch
        self._together = trainer.together
        self._folder = checkpoints_of(plan)
        self._came: tuple[Written, State] | None = None
        self._random = randomness.taken()
        self._since, self._took = time.monotonic(), 0.0
        self._last: Manifest | None = None
        trainer.points = self
        trainer.add_callback(self)

    def go_on(self, found: Written) -> None:
        """Give the run what it had at a checkpoint; optimizer and schedule are read by the trainer itself."""
        state = msgspec.json.decode((found.folder / STATE).read_bytes(), type=State)
        self._came, self._last = (found, state), found.manifest
        put_back(self._trainer.model, _tensors(found.folder / WEIGHTS))
        best = found.folder / BEST
        self._progress.go_on(state.counted, _tensors(best) if best.exists() else None, found.folder / CURVE)
        trainer, rank = self._trainer, self._together.rank
        if len(state.shares) == self._together.size:
            share, self._random = state.shares[rank], state.randomness[rank]
        elif rank == 0:
            share, self._random = _in_all(state.shares), state.randomness[0]
        else:
            share = NOTHING
        trainer.read_tokens, trainer.trained_tokens = share.read_tokens, share.trained_tokens
        trainer.training_sums.loss, trainer.training_sums.count = share.training
        trainer.state.global_step = found.manifest.step

    def train(self, total_steps: int) -> None:
        """Train to the end, from here on. Raises `AskedToRest`."""
        came = self._came[0] if self._came is not None else None
        if came is None:
            self._trainer.train()
        elif came.manifest.evaluated is not None or not self._ended(total_steps):
            with suppress(Over):
                self._trainer.train(resume_from_checkpoint=str(came.folder))
        if self._is_left():
            self._random = randomness.taken()
            self._leave(None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._since = time.monotonic()
        if self._came is None or (done := self._came[0].manifest.evaluated) is None:
            return
        trainer, kept = self._trainer, self._came[1]
        same = (self._plan.rows_at_a_time, self._together.size)
        if (kept.rows_at_a_time, len(kept.shares)) == same:
            sums = trainer.evaluation_sums
            trainer.evaluated = done
            sums.loss, sums.count = kept.shares[self._together.rank].evaluation
        self.begin_again()
        self._progress.begin_evaluation()
        trainer._evaluate(None, None)
        self._random = randomness.taken()
        if control.should_training_stop or state.global_step >= state.max_steps:
            raise Over

    def begin_again(self) -> None:
        """Draw the numbers that would have been drawn."""
        randomness.give_back(self._random)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = not self._progress.ends_epoch(state)  # and asks `between_steps`

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = self._progress.ends_epoch(state)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.evaluated += 1
        if self._trainer.evaluated < self._evaluations() and self._is_left():
            self._leave(self._trainer.evaluated)

    def before_evaluation(self) -> None:
        self._pass(self._trainer.evaluated)

    def between_steps(self) -> None:
        self._pass(None)

    def _pass(self, evaluated: int | None) -> None:
        self._random = randomness.taken()
        left, due = self._together.decided(self._asked(), self._due())
        if left:
            self._leave(evaluated)
        if due:
            self._keep(evaluated)

    def _is_left(self) -> bool:
        return self._together.decided(self._asked())[0]

    def _ended(self, total_steps: int) -> bool:
        return self._trainer.state.global_step >= total_steps or self._progress.out_of_patience

    def _evaluations(self) -> int:
        rows: Any = self._trainer.eval_dataset
        return -(-len(rows) // (self._trainer.args.eval_batch_size * self._together.size))

    def _due(self) -> bool:
        steps = self._plan.checkpoint_steps
        if steps is not None and self._trainer.state.global_step % steps == 0:
            return True
        share = OF_EPOCH if self._progress.ends_epoch(self._trainer.state) else 1.0
        waited = max(share * self._plan.checkpoint_seconds, LEAST_WORK * self._took)
        return time.monotonic() - self._since >= waited

    def _leave(self, evaluated: int | None) -> None:
        self._keep(evaluated)
        raise AskedToRest(self._last.step if self._last is not None else None)

    def _keep(self, evaluated: int | None) -> None:
        step, began = self._trainer.state.global_step, time.monotonic()
        shares = self._together.gathered((self._share(), self._random))
        if self._together.rank:
            return
        manifest = Manifest(
            run=self._run,
            step=step,
            evaluated=evaluated,
            epoch=step // self._per_epoch,
            batch=step % self._per_epoch,
        )
        if self._last is not None and self._last.name == manifest.name:
            return
        try:
            written = checkpoints.write(self._folder, manifest, self._parts(shares), self._expected())
        except OSError as error:
            self._tell(CheckpointSkipped(step, error.strerror or str(error)))
            return
        finally:
            self._since = time.monotonic()
            self._took = self._since - began
        self._last = written.manifest
        checkpoints.keep_newest(self._folder, self._plan.hyperparameters.checkpoints_kept)
        self._tell(Checkpointed(str(written.folder), step, written.bytes, round(self._took, 3)))

    def _share(self) -> Share:
        trainer = self._trainer
        return Share(
            read_tokens=trainer.read_tokens,
            trained_tokens=trainer.trained_tokens,
            training=(trainer.training_sums.loss, trainer.training_sums.count),
            evaluation=(trainer.evaluation_sums.loss, trainer.evaluation_sums.count),
        )

    def _parts(self, shares: Sequence[tuple[Share, Randomness]]) -> dict[str, Part]:
        trainer, best = self._trainer, self._progress.best
        assert trainer.optimizer is not None
        assert trainer.lr_scheduler is not None
        told = dataclasses.asdict(trainer.state) | {"log_history": [], "stateful_callbacks": {}}
        state = State(
            **msgspec.structs.asdict(shares[0][0]),
            randomness=tuple(random for _, random in shares),
            counted=self._progress.kept(),
            rows_at_a_time=self._plan.rows_at_a_time,
            others=tuple(share for share, _ in shares[1:]),
        )

        def saved(tensors: Any) -> Part:
            return lambda out: torch.save(tensors, out)

        def text(content: bytes) -> Part:
            return lambda out: out.write(content)

        return {
            WEIGHTS: saved(as_they_are(trainer.model)),
            **({BEST: saved(best)} if best is not None else {}),
            OPTIMIZER: saved(trainer.optimizer.state_dict()),
            SCHEDULER: saved(trainer.lr_scheduler.state_dict()),
            TRAINER_STATE: text(json.dumps(told).encode()),
            STATE: text(msgspec.json.encode(state)),
            CURVE: text(self._progress.curve.read_bytes()),
        }

    def _expected(self) -> int:
        """About the bytes of a checkpoint: the optimizer keeps two numbers for each that is trained."""
        own = sum(one.nbytes for one in as_they_are(self._trainer.model).values())
        best = sum(one.nbytes for one in (self._progress.best or {}).values())
        return 3 * own + best + self._progress.curve.stat().st_size


def _in_all(shares: Sequence[Share]) -> Share:
    """The shares of several processes as that of one."""
    return Share(
        read_tokens=sum(one.read_tokens for one in shares),
        trained_tokens=sum(one.trained_tokens for one in shares),
        training=(sum(one.training[0] for one in shares), sum(one.training[1] for one in shares)),
        evaluation=(sum(one.evaluation[0] for one in shares), sum(one.evaluation[1] for one in shares)),
    )


NOTHING = _in_all(())


def _tensors(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
