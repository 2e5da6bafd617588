"""Steps and epochs as frames and as the curve that is kept with the results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from transformers import TrainerCallback

from app.trainer_worker.training.failures import TrainingFault
from app.trainer_worker.training.frames import Epoch, Failed, Frame, Phase, Step

SPEED_WINDOW = 20


class Progress(TrainerCallback):  # type: ignore[misc]
    """Hears of every logged step. A loss that is not finite, or exactly 0, ends the run."""

    def __init__(
        self, tell: Callable[[Frame], None], curve: Path, epochs: int, memory_peak: Callable[[], int]
    ) -> None:
        self._tell, self._epochs, self._memory_peak = tell, epochs, memory_peak
        self._curve = curve.open("wb", buffering=0)
        self._trainer: Any = None
        self._times: list[tuple[float, int]] = []
        self._epoch_losses: list[tuple[float, int]] = []
        self._counted = 0
        self.train_loss = math.nan
        self.eval_loss: float | None = None

    def count_by(self, trainer: Any) -> None:
        """Take token counts from this trainer."""
        self._trainer = trainer

    @property
    def trained_tokens(self) -> int:
        """Tokens with a label, over all epochs so far."""
        return int(self._trainer.trained_tokens)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._times.append((time.monotonic(), 0))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss) or loss == 0.0:
            raise _run_away(loss, state.global_step)
        tokens = int(self._trainer.tokens)
        self._times = [*self._times[-SPEED_WINDOW:], (time.monotonic(), tokens)]
        (then, had), (now, have) = self._times[0], self._times[-1]
        left = (now - then) / (len(self._times) - 1) * (state.max_steps - state.global_step)
        self._epoch_losses.append((loss, self.trained_tokens - self._counted))
        self._counted = self.trained_tokens
        step = Step(
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=round(float(state.epoch), 4),
            loss=loss,
            learning_rate=float(logs["learning_rate"]),
            grad_norm=float(logs["grad_norm"]) if "grad_norm" in logs else None,
            tokens=tokens,
            tokens_per_second=round((have - had) / max(now - then, 1e-9), 2),
            seconds_left=round(left, 1),
            memory_peak=self._memory_peak(),
        )
        self._keep(step)
        # The last log of an epoch comes before its end is told, so a whole epoch is known by its number.
        if args.eval_strategy == "no" and abs(state.epoch - round(state.epoch)) < 1e-6:
            self._complete(round(state.epoch), state.global_step, None)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.eval_strategy != "no":
            self._tell(Phase("evaluating"))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        self._complete(round(state.epoch), state.global_step, float(metrics["eval_loss"]))
        if round(state.epoch) < self._epochs:
            self._tell(Phase("training"))
            self._times = [(time.monotonic(), int(self._trainer.tokens))]

    def _complete(self, epoch: int, step: int, eval_loss: float | None) -> None:
        trained = sum(tokens for _, tokens in self._epoch_losses)
        self.train_loss = sum(loss * tokens for loss, tokens in self._epoch_losses) / trained
        self.eval_loss = eval_loss
        self._epoch_losses = []
        self._keep(Epoch(epoch, step, self.train_loss, eval_loss))

    def _keep(self, frame: Step | Epoch) -> None:
        self._curve.write(msgspec.json.encode(frame) + b"\n")
        self._tell(frame)


def _run_away(loss: float, step: int) -> TrainingFault:
    if loss == 0.0:
        message = f"the loss is exactly 0 at step {step}: no token of the batch was trained; see the file's rows"
        return TrainingFault(Failed("loss_is_zero", "user", message, "training_file"))
    message = f"the loss is {loss} at step {step}; lower learning_rate"
    return TrainingFault(Failed("loss_not_finite", "user", message, "hyperparameters.learning_rate"))
