"""What the child tells: one JSON line a frame. Losses in nats per token, memory in bytes, times in seconds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Ready(Struct, frozen=True, tag="ready"):
    """Everything is imported; the child waits for its plan."""

    device: str
    name: str
    memory: int
    versions: dict[str, str]


class Phase(Struct, frozen=True, tag="phase"):
    """What the child is at; the first one, `loading`, says that it has taken its plan."""

    phase: Literal["loading", "training", "evaluating", "saving", "verifying"]


class Planned(Struct, frozen=True, tag="planned"):
    """Model loaded and rows tokenised: what training will be."""

    total_steps: int
    train_rows: int
    validation_rows: int
    tokens_per_epoch: int
    trainable_tokens: int
    cut_tokens: int
    labels_hash: str


class Step(Struct, frozen=True, tag="step"):
    """One optimizer step; `tokens` since the beginning."""

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


class Epoch(Struct, frozen=True, tag="epoch"):
    """A whole epoch: the mean loss per trained token, and that of the validation rows if there are any."""

    epoch: int
    step: int
    train_loss: float
    eval_loss: float | None


class Saved(Struct, frozen=True, tag="saved"):
    """Adapter and results are complete on disk."""

    adapter_dir: str
    results_dir: str
    train_loss: float
    eval_loss: float | None
    trained_tokens: int


class Verified(Struct, frozen=True, tag="verified"):
    """Stock PEFT loaded the adapter; the largest difference of its logits from the trainer's."""

    max_logit_difference: float


class Failed(Struct, frozen=True, tag="failed"):
    """The attempt is over: a stable code, whose fault, a sentence. The traceback is on stderr."""

    code: str
    blame: Literal["user", "platform"]
    message: str
    param: str | None = None
    retryable: bool = False
    memory_peak: int = 0


Frame = Ready | Phase | Planned | Step | Epoch | Saved | Verified | Failed
