"""The plan of one attempt: everything the child is told, so that a run can be repeated from it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from app.domain.hyperparameters import Hyperparameters

Format = Literal["chat", "prompt_completion"]
Method = Literal["lora", "qlora"]


class PlanError(Exception):
    """The plan is not one that can be run; the sentence says where it is wrong."""


class RowsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A JSONL file of rows on this machine; `sha256` is noted in the manifest when it is known."""

    path: str
    format: Format = "chat"
    sha256: str | None = None


class Plan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One attempt. Paths are absolute; `output_dir` is this attempt's own and is made if it is not there.

    `model_id` and `model_revision` are the catalogue's and end up in the adapter, `model_dir` never does.
    An optimizer step takes `hyperparameters.batch_size` rows, in `gradient_accumulation` equal parts.
    With `labels_hash` the run fails when the labels it would train are not the ones that were previewed.
    """

    job_id: str
    attempt: Annotated[int, Meta(ge=1)]
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    model_id: str
    model_revision: str
    model_dir: str
    training_file: RowsFile
    validation_file: RowsFile | None = None
    hyperparameters: Hyperparameters
    target_modules: str | tuple[str, ...] = "all-linear"
    gradient_accumulation: Annotated[int, Meta(ge=1)] = 1
    output_dir: str
    device: Annotated[str, Meta(pattern=r"^(cpu|cuda:\d+)$")] = "cpu"
    logging_steps: Annotated[int, Meta(ge=1)] = 1
    labels_hash: str | None = None

    def __post_init__(self) -> None:
        if self.hyperparameters.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"batch_size {self.hyperparameters.batch_size} cannot be taken in "
                f"{self.gradient_accumulation} equal parts"
            )

    @property
    def method(self) -> Method:
        """QLoRA is LoRA on a base held in 4 bits."""
        return "qlora" if self.hyperparameters.use_quantization else "lora"

    @property
    def rows_per_pass(self) -> int:
        """Rows that go through the model at a time."""
        return self.hyperparameters.batch_size // self.gradient_accumulation


def decode_plan(text: bytes | str) -> Plan:
    """Read a plan. Raises `PlanError`."""
    try:
        return msgspec.json.decode(text, type=Plan)
    except msgspec.DecodeError as error:
        raise PlanError(f"the plan cannot be used: {error}") from error


def encode_plan(plan: Plan) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(plan)
