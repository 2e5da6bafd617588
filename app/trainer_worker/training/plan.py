"""What the child is told: a plan that stands for itself, with no service around it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from app.domain.hyperparameters import Hyperparameters
from app.domain.tunings import Method, WarmStart

CHECKPOINT_SECONDS = 300.0


class PlanError(Exception):
    """The plan is not one that can be carried out; the sentence says where it is wrong."""


class Plan(Struct, frozen=True, kw_only=True):
    """One attempt at one tuning. Folders and files are local; `device` is `cpu` or `cuda:<n>`.

    `model_id` and `model_revision` end up in the adapter, `model_dir` never does. With a `labels_hash` the
    run fails when what it would train is not what was previewed. File digests are noted in the manifest.
    Training goes on from the adapter in `warm_start_dir`, if there is one, which is that of `warm_start`.

    A checkpoint is written after each `checkpoint_steps`, if given, and when `checkpoint_seconds` of training
    have gone by since the last one. With a `resume_dir` the run goes on from the newest whole checkpoint of
    this plan in there; without any it begins at the beginning.
    """

    job_id: str
    attempt: Annotated[int, Meta(ge=1)]
    seed: int
    model_id: str
    model_revision: str
    model_dir: str
    training_file: str
    validation_file: str | None = None
    training_sha256: str | None = None
    validation_sha256: str | None = None
    hyperparameters: Hyperparameters
    method: Method = "supervised"
    warm_start: WarmStart | None = None
    warm_start_dir: str | None = None
    logging_steps: Annotated[int, Meta(ge=1)] = 1
    labels_hash: str | None = None
    output_dir: str
    checkpoint_seconds: Annotated[float, Meta(gt=0)] = CHECKPOINT_SECONDS
    checkpoint_steps: Annotated[int, Meta(ge=1)] | None = None
    resume_dir: str | None = None
    device: Annotated[str, Meta(pattern=r"^(cpu|cuda:\d+)$")] = "cpu"

    def __post_init__(self) -> None:
        size, parts = self.hyperparameters.batch_size, self.hyperparameters.gradient_accumulation
        if size % parts:
            raise ValueError(f"batch_size {size} cannot be taken in {parts} equal parts")

    @property
    def adapter(self) -> Literal["lora", "qlora"]:
        """QLoRA is LoRA on a base model that is held in 4 bits."""
        return "qlora" if self.hyperparameters.use_quantization else "lora"

    @property
    def rows_at_a_time(self) -> int:
        """Rows that go through the model together."""
        return self.hyperparameters.batch_size // self.hyperparameters.gradient_accumulation


class Train(Struct, frozen=True, tag="train"):
    """Request: carry out this plan."""

    plan: Plan


class Verify(Struct, frozen=True, tag="verify"):
    """Request: load this adapter as its user will, and compare it with what was trained."""

    adapter_dir: str


class Rest(Struct, frozen=True, tag="rest"):
    """Request: leave the run after the step under way, with a checkpoint to go on from."""


Request = Train | Verify | Rest

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def read_plan(text: bytes) -> Plan:
    """A plan from JSON. Raises `PlanError`."""
    try:
        return msgspec.json.decode(text, type=Plan)
    except msgspec.DecodeError as error:
        raise PlanError(f"the plan cannot be used: {error}") from error


def read_request(line: bytes) -> Request:
    """A request from a line of JSON. Raises `PlanError`."""
    try:
        return _requests.decode(line)
    except msgspec.DecodeError as error:
        raise PlanError(f"the request cannot be used: {error}") from error


def request_line(request: Request) -> bytes:
    """The request as a line of JSON."""
    return msgspec.json.encode(request) + b"\n"
