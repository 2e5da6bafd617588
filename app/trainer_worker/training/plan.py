"""What the child is told: a plan that stands for itself, with no service around it."""

from __future__ import annotations


from msgspec import Struct

from app.domain.hyperparameters import Hyperparameters


class Plan(Struct, frozen=True, kw_only=True):
    """One attempt at one tuning. Folders and files are local; `device` is `cpu` or `cuda:<n>`."""

    job_id: str
    attempt: int
    seed: int
    model_id: str
    model_revision: str
    model_dir: str
    training_file: str
    validation_file: str | None
    hyperparameters: Hyperparameters
    output_dir: str
    device: str = "cpu"


class Train(Struct, frozen=True, tag="train"):
    """Request: carry out this plan."""

    plan: Plan


class Verify(Struct, frozen=True, tag="verify"):
    """Request: load this adapter as its user will, and compare it with what was trained."""

    adapter_dir: str


Request = Train | Verify
