"""What the child is told: a plan that stands for itself, with no service around it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from app.catalogue.memory import MemoryEstimate
from app.domain.hyperparameters import Hyperparameters
from app.domain.tunings import Method, Reduction, WarmStart

CHECKPOINT_SECONDS = 300.0
STALL_SECONDS = 600.0


class PlanError(Exception):
    """The plan is not one that can be carried out; the sentence says where it is wrong."""


class Plan(Struct, frozen=True, kw_only=True):
    """One attempt at one tuning. Folders and files are local; `device` is `cpu` or `cuda:<n>`.

    `model_id` and `model_revision` end up in the adapter, `model_dir` never does. With a `labels_hash` the
    run fails when what it would train is not what was previewed. File digests are noted in the manifest.
    `reduction` is how an earlier try, which was out of memory, was to go on; `memory` was estimated. Of at
    most `examples` training rows the losses are told one by one; None: of as many as take little time.
    Training goes on from the adapter in `warm_start_dir`, if there is one, which is that of `warm_start`.

    A checkpoint is written after each `checkpoint_steps`, if given, and when `checkpoint_seconds` of training
    have gone by since the last one. With a `resume_dir` the run goes on from the newest whole checkpoint of
    this plan in there; without any it begins at the beginning.

    With more than one of `processes` each has a device of its own and an equal share of every batch, which it
    takes in as few parts as may be without taking more rows at a time than one alone would. One that does not
    answer the others for `stall_seconds` ends the attempt.
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
    reduction: Reduction | None = None
    examples: Annotated[int, Meta(ge=0)] | None = None
    memory: MemoryEstimate | None = None
    output_dir: str
    checkpoint_seconds: Annotated[float, Meta(gt=0)] = CHECKPOINT_SECONDS
    checkpoint_steps: Annotated[int, Meta(ge=1)] | None = None
    resume_dir: str | None = None
    device: Annotated[str, Meta(pattern=r"^(cpu|cuda:\d+)$")] = "cpu"
    processes: Annotated[int, Meta(ge=1)] = 1
    stall_seconds: Annotated[float, Meta(gt=0)] = STALL_SECONDS

    def __post_init__(self) -> None:
        size, parts = self.hyperparameters.batch_size, self.hyperparameters.gradient_accumulation
        if size % parts:
            raise ValueError(f"batch_size {size} cannot be taken in {parts} equal parts")
        if size % self.processes:
            raise ValueError(f"batch_size {size} cannot be shared equally by {self.processes} processes")

    @property
    def adapter(self) -> Literal["lora", "qlora"]:
        """QLoRA is LoRA on a base model that is held in 4 bits."""
        return "qlora" if self.hyperparameters.use_quantization else "lora"

    @property
    def rows_at_a_time(self) -> int:
        """Rows that go through the model together, on each device."""
        share, asked = self._share, self.reduction or self.hyperparameters
        alone = self.hyperparameters.batch_size // asked.gradient_accumulation
        return max(rows for rows in range(1, alone + 1) if share % rows == 0)

    @property
    def gradient_accumulation(self) -> int:
        """Equal parts that each process takes its share of a step's rows in."""
        return self._share // self.rows_at_a_time

    @property
    def _share(self) -> int:
        return self.hyperparameters.batch_size // self.processes

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether a layer's activations are computed again for its backward pass."""
        return self.reduction is not None and self.reduction.gradient_checkpointing

    def reduced(self, step: int) -> Reduction | None:
        """The next form of the plan that needs less memory after `step`; None when it is in the last one."""
        size, now = self.hyperparameters.batch_size, self.rows_at_a_time
        if now > 1:
            # Half of them, or the next number less that divides the batch into equal parts.
            rows = next(rows for rows in range(now // 2, 0, -1) if size % rows == 0)
            return Reduction(step, rows, size // rows, self.gradient_checkpointing)
        return None if self.gradient_checkpointing else Reduction(step, 1, size, True)


class Train(Struct, frozen=True, tag="train"):
    """Request: carry out this plan."""

    plan: Plan


class Follow(Struct, frozen=True, tag="follow"):
    """Request to a further process of an attempt: take part as this rank; `meeting` is a file to meet at."""

    plan: Plan
    rank: int
    meeting: str


class Verify(Struct, frozen=True, tag="verify"):
    """Request: load this adapter as its user will, and compare it with what was trained."""

    adapter_dir: str


class Merge(Struct, frozen=True, tag="merge"):
    """Request: merge this adapter into its base in bf16, and compare the two."""

    adapter_dir: str


class Rest(Struct, frozen=True, tag="rest"):
    """Request: leave the run after the step under way, with a checkpoint to go on from."""


Request = Train | Follow | Verify | Merge | Rest

_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def processes_for(batch_size: int, devices: int) -> int:
    """The most processes, each with a device, that can share a batch equally: it is never made another."""
    return max(count for count in range(1, devices + 1) if batch_size % count == 0)


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
