"""A tuning as OpenAI's clients read it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.api.schemas.openai.names import MULTIPLIED
from app.api.schemas.pages import seconds
from app.api.schemas.tunings import NOTHING_TOLD, Progress
from app.domain.hyperparameters import AUTO_LEARNING_RATES
from app.domain.tunings import Method, Tuning

FineTuningStatus = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


class ShownHyperparameters(Struct, frozen=True, kw_only=True):
    """OpenAI's hyperparameters, as resolved."""

    n_epochs: Annotated[int, Meta(description="Passes over the training rows.")]
    batch_size: Annotated[int, Meta(description="Rows per optimizer step.")]
    learning_rate_multiplier: Annotated[float, Meta(description=f"Multiple {MULTIPLIED}.")]
    beta: Annotated[float | None, Meta(description="Of the method dpo.")] = None


class ShownSettings(Struct, frozen=True):
    """What belongs to one method."""

    hyperparameters: Annotated[ShownHyperparameters, Meta(description="As resolved.")]


class ShownMethod(Struct, frozen=True, kw_only=True):
    """How it is trained."""

    type: Annotated[Method, Meta(description="Which method it is.")]
    supervised: Annotated[
        ShownSettings | None, Meta(description="What belongs to it, when it is the method; else null.")
    ] = None
    dpo: Annotated[
        ShownSettings | None, Meta(description="What belongs to it, when it is the method; else null.")
    ] = None


class FineTuningError(Struct, frozen=True):
    """Why a tuning failed."""

    code: Annotated[str, Meta(description="Stable; for programs. The errors reference explains each.")]
    message: Annotated[str, Meta(description="What happened and what to do.")]
    param: Annotated[str | None, Meta(description="Which field of the request it is about; null when none.")]


class FineTuningJob(Struct, frozen=True, kw_only=True):
    """A tuning, as OpenAI's clients read it. `/v1/tunings.get/{id}` tells more of the same one."""

    id: Annotated[str, Meta(description="Its id, `job-…`.")]
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    model: Annotated[str, Meta(description="What is tuned.")]
    status: Annotated[FineTuningStatus, Meta(description="`queued` is `pending` elsewhere.")]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    finished_at: Annotated[int | None, Meta(description="Unix seconds.")]
    estimated_finish: Annotated[int | None, Meta(description="Unix seconds; while it trains.")]
    training_file: Annotated[str, Meta(description="Id of the file that it learns from.")]
    validation_file: Annotated[
        str | None, Meta(description="Id of the file for the evaluation loss; null without one.")
    ]
    hyperparameters: Annotated[ShownHyperparameters, Meta(description="As resolved.")]
    method: Annotated[ShownMethod, Meta(description="How it is trained.")]
    seed: Annotated[int, Meta(description="What all randomness comes from, as given or chosen.")]
    metadata: Annotated[dict[str, str] | None, Meta(description="Your own pairs; null without any.")]
    organization_id: Annotated[str, Meta(description="The account.")]
    result_files: Annotated[list[str], Meta(description="Ids of the files that it made.")]
    trained_tokens: Annotated[int | None, Meta(description="Once it succeeded.")]
    fine_tuned_model: Annotated[str | None, Meta(description="Once it succeeded.")]
    error: Annotated[FineTuningError | None, Meta(description="Once it failed.")]
    integrations: Annotated[None, Meta(description="None is offered.")] = None


def job_view(tuning: Tuning, told: Progress = NOTHING_TOLD, *, now: float) -> FineTuningJob:
    """The job object; `now` is in Unix seconds."""
    failure = tuning.failure
    hyperparameters = _hyperparameters(tuning)
    return FineTuningJob(
        id=tuning.id,
        model=tuning.model.id,
        status="queued" if tuning.status == "pending" else tuning.status,
        created_at=seconds(tuning.created_at),
        finished_at=seconds(tuning.finished_at),
        estimated_finish=_estimated_finish(tuning, told, now),
        training_file=tuning.training_file.id,
        validation_file=tuning.validation_file.id if tuning.validation_file else None,
        hyperparameters=hyperparameters,
        method=ShownMethod(type=tuning.method, **{tuning.method: ShownSettings(hyperparameters)}),
        seed=tuning.seed,
        metadata=tuning.metadata or None,
        organization_id=tuning.account_id,
        result_files=[file.id for file in tuning.result_files],
        trained_tokens=tuning.trained_tokens,
        fine_tuned_model=tuning.fine_tuned_model,
        error=FineTuningError(failure.code, failure.message, failure.param) if failure else None,
    )


def _hyperparameters(tuning: Tuning) -> ShownHyperparameters:
    resolved = tuning.hyperparameters
    return ShownHyperparameters(
        n_epochs=resolved.epochs,
        batch_size=resolved.batch_size,
        learning_rate_multiplier=round(resolved.learning_rate / AUTO_LEARNING_RATES[tuning.method], 9),
        beta=resolved.beta,
    )


def _estimated_finish(tuning: Tuning, told: Progress, now: float) -> int | None:
    step, attempt = told.last_step, tuning.attempt
    if tuning.status != "running" or step is None or attempt is None or step.attempt != attempt.number:
        return None
    return int(now + step.seconds_left)
