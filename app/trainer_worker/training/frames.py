"""The child's protocol: requests come on stdin, frames go to a pipe; each is one line of JSON.

The life of a child: `Ready`, then per `Train` request `Phase`, `Planned`, `Step`…, `Epoch`…, `Saved`; per `Verify`
request `Verified`. `Failed` is the last frame of a child, which exits with code 1 after it. End of file on stdin or
SIGTERM ends the child at once, without a frame.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from app.trainer_worker.training.plan import Plan

PhaseName = Literal["loading", "training", "evaluating", "saving", "verifying"]
Blame = Literal["user", "platform"]


class FrameError(Exception):
    """A line is no frame or no request of this protocol."""


class Train(Struct, frozen=True, tag_field="type", tag="train"):
    """Run this plan; a child takes one plan in its life."""

    plan: Plan


class Verify(Struct, frozen=True, tag_field="type", tag="verify"):
    """Load the adapter in this folder with stock PEFT and compare it with the model that was trained."""

    adapter_dir: str


class Ready(Struct, frozen=True, tag_field="type", tag="ready"):
    """Everything is imported. `kind` names the device's model, `memory_total` is its memory in bytes."""

    device: str
    kind: str
    memory_total: int
    versions: dict[str, str]


class Phase(Struct, frozen=True, tag_field="type", tag="phase"):
    """What the child does from here on."""

    phase: PhaseName


class Planned(Struct, frozen=True, tag_field="type", tag="planned"):
    """The plan is taken: model loaded, rows tokenised. Counts are per epoch but for `total_steps`.

    `trainable_tokens` are those with a label, `tokens_per_epoch` all of them, without padding.
    `truncated_rows` lost tokens to max_length.
    """

    total_steps: int
    total_epochs: int
    train_rows: int
    eval_rows: int
    trainable_tokens: int
    tokens_per_epoch: int
    truncated_rows: int
    trainable_parameters: int
    labels_hash: str
    effective_batch_size: int


class Step(Struct, frozen=True, tag_field="type", tag="step"):
    """After an optimizer step. `loss` in nats per trained token, mean over the steps since the last frame.

    `epoch` is the position, 1.5 in the middle of the second; `tokens` counts all tokens of the run so far, without
    padding; `memory_peak` in bytes (of the device, or of the process on a CPU).
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float | None
    tokens: int
    tokens_per_second: float
    seconds_left: float
    memory_peak: int


class Epoch(Struct, frozen=True, tag_field="type", tag="epoch"):
    """An epoch, from 1, was completed. Losses in nats per trained token, each token weighing the same."""

    epoch: int
    step: int
    train_loss: float
    eval_loss: float | None


class Saved(Struct, frozen=True, tag_field="type", tag="saved"):
    """Adapter and results are complete on disk. Losses are the last epoch's; `seconds` those of training.

    `trained_tokens` are all tokens that went through the model in training, every epoch counted.
    """

    adapter_dir: str
    results_dir: str
    train_loss: float
    eval_loss: float | None
    trained_tokens: int
    steps: int
    seconds: float
    tokens_per_second: float
    memory_peak: int


class Verified(Struct, frozen=True, tag_field="type", tag="verified"):
    """The adapter answers as the trained model did, but for `max_logit_difference`."""

    adapter_dir: str
    max_logit_difference: float


class Failed(Struct, frozen=True, tag_field="type", tag="failed"):
    """The attempt is over. `detail` is for the operator: the error's type and first line, no traceback."""

    code: str
    kind: Blame
    message: str
    param: str | None = None
    retryable: bool = False
    detail: str = ""


Request = Train | Verify
Frame = Ready | Phase | Planned | Step | Epoch | Saved | Verified | Failed

_frames: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def encode_line(message: Frame | Request) -> bytes:
    """The message as one line, newline included."""
    return msgspec.json.encode(message) + b"\n"


def decode_frame(line: bytes) -> Frame:
    """Read a frame. Raises `FrameError`."""
    try:
        return _frames.decode(line)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a frame: {error}: {line[:200]!r}") from error


def decode_request(line: bytes) -> Request:
    """Read a request. Raises `FrameError`."""
    try:
        return _requests.decode(line)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a request: {error}: {line[:200]!r}") from error
