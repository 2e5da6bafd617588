"""Steps and epochs as frames and as the curve that is kept with the results."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from transformers import PrinterCallback, TrainerCallback

from app.trainer_worker.training.failures import ran_away, unusable_loss
from app.trainer_worker.training.frames import Epoch, Evaluation, Frame, Phase, Step, frame_line
from app.trainer_worker.training.stopping import Heard, Patience, RunawayWatch, Watched
from app.trainer_worker.training.weights import Weights, trained_weights

if TYPE_CHECKING:
    from app.trainer_worker.training.trainer import RowTrainer

SPEED_WINDOW = 20


class Counted(Struct, frozen=True):
    """What a `Progress` has counted: of the epoch under way, of the last one that is complete, and in all."""

    epoch_loss: float
    epoch_tokens: int
    train_loss: float | None
    eval_loss: float | None
    best_step: int
    seconds: float
    heard: Heard | None
    watched: Watched | None = None


class Progress(TrainerCallback):
    """Hears of every logged step. A loss that is not finite, exactly 0, or has run away, ends the run.

    An epoch's losses are means over its trained tokens, each token weighing the same. Only an epoch whose
    last step was made is told, or the run's: the trainer also calls its end when it is stopped in the middle.
    With `eval_every`, validation rows are also evaluated after every so many steps. With `patience`, the run
    ends when that is over, and `best` are the weights of the lowest validation loss, after `best_step`.
    """

    def __init__(
        self,
        tell: Callable[[Frame], None],
        curve: Path,
        steps_per_epoch: int,
        eval_every: int | None,
        memory_peak: Callable[[], int],
        patience: Patience | None = None,
    ) -> None:
        self._tell, self._steps_per_epoch, self._memory_peak = tell, steps_per_epoch, memory_peak
        self._eval_every, self._patience, self._runaway = eval_every, patience, RunawayWatch()
        self.curve = curve
        self._curve = curve.open("ab", buffering=0)
        self._trainer: RowTrainer
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=SPEED_WINDOW + 1)
        self._epoch_loss, self._epoch_tokens = 0.0, 0
        self._evaluating = self._began = 0.0
        self.train_loss = math.nan
        self.eval_loss: float | None = None
        self.best: Weights | None = None
        self.best_step = 0
        self.seconds = 0.0

    def follow(self, trainer: RowTrainer) -> None:
        """Take losses and token counts from this trainer."""
        self._trainer = trainer
        trainer.add_callback(self)
        trainer.remove_callback(PrinterCallback)

    def close(self) -> None:
        """Close the curve's file."""
        self._curve.close()
        self.seconds, self._began = self._seconds(), 0.0

    def kept(self) -> Counted:
        """What is to be known when the run goes on elsewhere; `best` and the curve besides."""
        return Counted(
            epoch_loss=self._epoch_loss,
            epoch_tokens=self._epoch_tokens,
            train_loss=None if math.isnan(self.train_loss) else self.train_loss,
            eval_loss=self.eval_loss,
            best_step=self.best_step,
            seconds=self._seconds(),
            heard=self._patience.kept() if self._patience is not None else None,
            watched=self._runaway.kept(),
        )

    def go_on(self, counted: Counted, best: Weights | None, curve: Path) -> None:
        """Go on from what was counted, and kept beside it."""
        self._epoch_loss, self._epoch_tokens = counted.epoch_loss, counted.epoch_tokens
        self.train_loss = math.nan if counted.train_loss is None else counted.train_loss
        self.eval_loss, self.seconds = counted.eval_loss, counted.seconds
        self.best, self.best_step = best, counted.best_step
        if self._patience is not None and counted.heard is not None:
            self._patience.go_on(counted.heard)
        if counted.watched is not None:
            self._runaway.go_on(counted.watched)
        self._curve.write(curve.read_bytes())

    @property
    def out_of_patience(self) -> bool:
        """Whether the run has learned all it can."""
        return self._patience is not None and self._patience.over

    def begin_evaluation(self) -> None:
        """Evaluate what was to be evaluated when the run was left."""
        self._evaluating = time.monotonic()
        self._tell(Phase("evaluating"))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._marks.append((time.monotonic(), self._read_tokens(), state.global_step))
        self._began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if "loss" not in logs:  # an evaluation's or the whole run's
            return
        loss, trained = self._trainer.training_sums.take(self._trainer.together)
        if not math.isfinite(loss) or loss == 0.0:
            raise unusable_loss(loss, state.global_step)
        norm = float(logs["grad_norm"]) if "grad_norm" in logs else None
        if norm is not None and not math.isfinite(norm):
            raise unusable_loss(norm, state.global_step)
        if self._runaway.hear(loss):
            raise ran_away(loss, state.global_step, self._runaway.limit)
        self._epoch_loss += loss * trained
        self._epoch_tokens += trained
        now, tokens = time.monotonic(), self._read_tokens()
        self._marks.append((now, tokens, state.global_step))
        then, had, at = self._marks[0]
        elapsed = max(now - then, 1e-9)
        self._keep(
            Step(
                step=state.global_step,
                total_steps=state.max_steps,
                epoch=round(float(state.epoch), 4),
                loss=loss,
                learning_rate=float(logs["learning_rate"]),
                grad_norm=norm,
                tokens=tokens,
                tokens_per_second=round((tokens - had) / elapsed, 2),
                seconds_left=round(
                    elapsed / max(state.global_step - at, 1) * (state.max_steps - state.global_step), 1
                ),
                memory_peak=self._memory_peak(),
            )
        )
        if self._evaluating:  # the step is told first
            self._tell(Phase("evaluating"))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._eval_every is None or args.eval_strategy == "no" or self.ends_epoch(state):
            return  # an epoch's end is evaluated in any case
        if state.global_step % self._eval_every == 0:
            control.should_evaluate = True
            self._evaluating = time.monotonic()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.ends_epoch(state):
            control.should_evaluate = False  # stopped in its middle, and evaluated there
            return
        if args.eval_strategy == "no":
            self._complete(state.global_step, None)
        else:
            self._evaluating = time.monotonic()
            self._tell(Phase("evaluating"))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loss, _ = self._trainer.evaluation_sums.take(self._trainer.together)
        if not self._evaluating:
            return
        if not math.isfinite(loss):
            raise unusable_loss(loss, state.global_step)
        over = self._out_of_patience(loss, state.global_step, kwargs["model"])
        control.should_training_stop |= over
        if over or self.ends_epoch(state):
            self._complete(state.global_step, loss)
        else:
            self._keep(Evaluation(state.global_step, loss))
        away = time.monotonic() - self._evaluating
        self._evaluating = 0.0
        self._marks = deque(((at + away, *rest) for at, *rest in self._marks), maxlen=SPEED_WINDOW + 1)  # type: ignore[misc]
        if state.global_step < state.max_steps and not over:
            self._tell(Phase("training"))

    def _read_tokens(self) -> int:
        return int(self._trainer.together.summed(self._trainer.read_tokens)[0])

    def _seconds(self) -> float:
        return self.seconds + (time.monotonic() - self._began if self._began else 0.0)

    def _out_of_patience(self, loss: float, step: int, model: Any) -> bool:
        if self._patience is None:
            return False
        if self._patience.hear(loss):
            self.best, self.best_step = trained_weights(model), step
        return self._patience.over

    def ends_epoch(self, state: Any) -> bool:
        """Whether the last step of an epoch, or of the run, was made."""
        step = int(state.global_step)
        return step > 0 and (step % self._steps_per_epoch == 0 or step >= state.max_steps)

    def _complete(self, step: int, eval_loss: float | None) -> None:
        self.train_loss = self._epoch_loss / self._epoch_tokens
        self.eval_loss = eval_loss
        self._epoch_loss, self._epoch_tokens = 0.0, 0
        self._keep(Epoch(-(-step // self._steps_per_epoch), step, self.train_loss, eval_loss))

    def _keep(self, frame: Step | Evaluation | Epoch) -> None:
        self._curve.write(frame_line(frame))
        self._tell(frame)
