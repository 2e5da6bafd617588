"""Bodies in and out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rank: Annotated[int, Field(ge=1, le=256)] = 16
    alpha: Annotated[float, Field(gt=0, le=1024)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    epochs: Annotated[int, Field(ge=1, le=100)] = 3
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-4
    max_length: Annotated[int, Field(ge=16)] = 2048
    use_quantization: bool = False


class TuningRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=256)]
    training_file: Annotated[str, Field(min_length=1, max_length=256)]
    validation_file: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    suffix: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] = {}


class TuningJob(BaseModel):
    id: str
    object: Literal["tuning.job"] = "tuning.job"
    model: str
    status: str
    created_at: int
    started_at: int | None
    finished_at: int | None
    training_file: str
    validation_file: str | None
    hyperparameters: dict[str, Any]
    suffix: str | None
    metadata: dict[str, str]
    fine_tuned_model: str | None
    error: dict[str, Any] | None
    metrics: dict[str, Any] | None = None
    result_files: list[str] = []


class TuningPage(BaseModel):
    object: Literal["list"] = "list"
    data: list[TuningJob]
    has_more: bool
    first_id: str | None
    last_id: str | None
