"""What the child tells: one JSON line a frame. Memory in bytes, times in seconds, losses in nats per token.

Those of the method dpo are means over pairs.

First `Ready`. A plan is answered by `Phase`, `Planned`, many `Step`, some `Evaluation`, an `Epoch` each, now
and then a `Checkpointed`, and `Saved`; `Reduced` among them begins the answer anew. A verification is
answered by `Phase` and `Verified`, a merge by `Phase` and `Merged`. `Failed` may come instead of any of these
and ends the attempt, and so does `Rested` when the child was asked to rest.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct


class FrameError(Exception):
    """A line is no frame."""


class Ready(Struct, frozen=True, tag="ready"):
    """Everything is imported; the child waits for its plan. `memory` is that of each of its `processes`."""

    device: str
    name: str
    memory: int
    versions: dict[str, str]
    processes: int = 1


class Phase(Struct, frozen=True, tag="phase"):
    """What the child is at; the first one, `loading`, says that it has taken its plan."""

    phase: Literal["loading", "training", "evaluating", "saving", "verifying", "exporting"]


class Planned(Struct, frozen=True, tag="planned"):
    """Model loaded and rows tokenised: what training will be. Counts are those of an epoch.

    `trainable_tokens` are predicted, `tokens_per_epoch` are all that are read, padding aside; `cut_tokens`
    did not fit into max_length. Batches are of `sequences`: the rows, or what they are packed into. Training
    goes on after step `done_steps`.
    """

    total_steps: int
    train_rows: int
    validation_rows: int
    tokens_per_epoch: int
    trainable_tokens: int
    cut_tokens: int
    labels_hash: str
    total_epochs: int = 1
    effective_batch_size: int = 1
    trainable_parameters: int = 0
    sequences: int = 0
    done_steps: int = 0


class Step(Struct, frozen=True, tag="step"):
    """One optimizer step; `tokens` since the beginning, `epoch` a fraction, `loss` per trained token."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float | None
    tokens: int
    tokens_per_second: float
    seconds_left: float
    memory_peak: int


class Evaluation(Struct, frozen=True, tag="evaluation"):
    """The validation rows' mean loss per trained token after a step within an epoch."""

    step: int
    eval_loss: float


class Epoch(Struct, frozen=True, tag="epoch"):
    """A whole epoch: the mean loss per trained token, and that of the validation rows if there are any.

    The last one of a run that ends after a number of steps, or early, may be shorter.
    """

    epoch: int
    step: int
    train_loss: float
    eval_loss: float | None


class Checkpointed(Struct, frozen=True, tag="checkpointed"):
    """A checkpoint after `step` is whole on disk, in `folder`; it took `seconds`."""

    folder: str
    step: int
    bytes: int
    seconds: float = 0.0


class CheckpointSkipped(Struct, frozen=True, tag="checkpoint_skipped"):
    """No checkpoint could be written after `step`; training goes on."""

    step: int
    reason: str


class Reduced(Struct, frozen=True, tag="reduced"):
    """Memory ran out after `step`; the run goes on with fewer rows at a time, from `Phase` on."""

    step: int
    rows_at_a_time: int
    gradient_accumulation: int
    gradient_checkpointing: bool


class Rested(Struct, frozen=True, tag="rested"):
    """The run was left where it can be taken up again: after `step`, or at its beginning without one."""

    step: int | None


class Saved(Struct, frozen=True, tag="saved"):
    """Adapter and results are complete on disk. Losses are the last epoch's, `seconds` those of training.

    `trained_tokens` were predicted, over all epochs. The adapter is that after step `kept_step` of `steps`:
    with early stopping the one of the lowest validation loss, which is `eval_loss` then.
    """

    adapter_dir: str
    results_dir: str
    train_loss: float
    eval_loss: float | None
    trained_tokens: int
    steps: int = 0
    kept_step: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    memory_peak: int = 0


class Verified(Struct, frozen=True, tag="verified"):
    """Stock PEFT loaded the adapter; the largest difference of its logits from the trainer's."""

    max_logit_difference: float


class Merged(Struct, frozen=True, tag="merged"):
    """The merged model is complete on disk; stock transformers loaded it, whose logits differ by this."""

    merged_dir: str
    mean_logit_difference: float


class Failed(Struct, frozen=True, tag="failed"):
    """The attempt is over: a stable code, whose fault, a sentence. The traceback is on stderr.

    `detail` is for the operator: the error's type and its first line.
    """

    code: str
    blame: Literal["user", "platform"]
    message: str
    param: str | None = None
    retryable: bool = False
    memory_peak: int = 0
    detail: str = ""


Frame = (
    Ready
    | Phase
    | Planned
    | Step
    | Evaluation
    | Epoch
    | Checkpointed
    | CheckpointSkipped
    | Reduced
    | Rested
    | Saved
    | Verified
    | Merged
    | Failed
)

_frames: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def frame_line(frame: Frame) -> bytes:
    """The frame as a line of JSON."""
    return msgspec.json.encode(frame) + b"\n"


def read_frame(line: bytes) -> Frame:
    """A frame from a line of JSON. Raises `FrameError`."""
    try:
        return _frames.decode(line)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a frame: {error}: {line[:200]!r}") from error


def shown(frame: Frame, at: datetime) -> str:
    """A frame as a line for people: the time in UTC, what it is, and all that it says."""
    told = (f"{name}={value}" for name, value in msgspec.structs.asdict(frame).items() if value is not None)
    return " ".join([f"{at:%H:%M:%S}", type(frame).__name__.lower(), *told])
