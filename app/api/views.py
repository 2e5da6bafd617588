"""How tunings, files and models look from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import asdict

from app.domain.files import File
from app.domain.models import BaseModel
from app.domain.tunings import Failure, Tuning
from app.log.metrics import Step


def seconds(at: datetime | None) -> int | None:
    """Unix seconds, as the api tells times."""
    return int(at.timestamp()) if at else None


def tuning_view(
    tuning: Tuning,
    version: int,
    *,
    phase: str | None = None,
    phase_attempt: int | None = None,
    last_step: Step | None = None,
    position: int | None = None,
    estimated_start: datetime | None = None,
) -> dict[str, Any]:
    """The tuning object."""
    failure = tuning.failure
    return {
        "id": tuning.id,
        "object": "tuning.job",
        "model": tuning.model.id,
        "status": tuning.status,
        "phase": shown_phase(tuning, phase, phase_attempt),
        "created_at": seconds(tuning.created_at),
        "started_at": seconds(tuning.started_at),
        "finished_at": seconds(tuning.finished_at),
        "training_file": tuning.training_file.id,
        "validation_file": tuning.validation_file.id if tuning.validation_file else None,
        "hyperparameters": asdict(tuning.hyperparameters),
        "method": tuning.method,
        "suffix": tuning.suffix,
        "metadata": tuning.metadata,
        "seed": tuning.seed,
        "priority": tuning.priority,
        "queue": {"position": position, "estimated_start": seconds(estimated_start)}
        if tuning.status == "pending" and tuning.attempt is None and position is not None
        else None,
        "attempt": tuning.attempts or None,
        "version": version,
        "metrics": _metrics(tuning, last_step),
        "result_files": [file.id for file in tuning.result_files],
        "fine_tuned_model": tuning.fine_tuned_model,
        "error": failure_view(failure) if failure else None,
    }


def failure_view(failure: Failure) -> dict[str, Any]:
    """Why a tuning failed."""
    return {
        "type": "invalid_request_error" if failure.blame == "user" else "server_error",
        "code": failure.code,
        "message": failure.message,
        "param": failure.param,
        "retryable": failure.retryable,
    }


def shown_phase(tuning: Tuning, phase: str | None, phase_attempt: int | None) -> str | None:
    """What happens inside the status; None once it has ended, or rests."""
    if tuning.ended or tuning.status == "paused":
        return None
    if tuning.attempt is None:
        return "recovering" if tuning.status == "running" else "queued"
    if phase is not None and phase_attempt == tuning.attempt.number:
        return phase
    return "loading" if tuning.status == "running" else "assigned"


def _metrics(tuning: Tuning, last: Step | None) -> dict[str, Any] | None:
    if last is None and not tuning.epochs:
        return None
    total = tuning.hyperparameters.epochs
    live = last is not None and not tuning.ended
    if tuning.status == "succeeded":
        progress = 1.0
    elif last is not None:
        progress = last.step / last.total_steps
    else:
        progress = len(tuning.epochs) / total
    return {
        "train_loss": last.loss if live and last else tuning.train_loss,
        "eval_loss": tuning.eval_loss,
        "current_epoch": len(tuning.epochs),
        "total_epochs": total,
        "progress": round(progress, 4),
        "step": last.step if last else None,
        "total_steps": last.total_steps if last else None,
        "tokens_per_second": last.tokens_per_second if live and last else None,
        "seconds_left": last.seconds_left if live and last else None,
        "trained_tokens": tuning.trained_tokens,
    }


def file_view(file: File) -> dict[str, Any]:
    """The file object."""
    first = file.first_fault
    details = None
    if first is not None:
        more = f" (and {file.fault_count - 1} more)" if file.fault_count > 1 else ""
        details = f"line {first.line}: {first.message}{more}"
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": seconds(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": file.status,
        "status_details": details,
        "sha256": file.sha256,
        "rows": file.rows,
        "format": file.format,
        "fault_count": file.fault_count,
    }


def result_file_view(row: Any) -> dict[str, Any]:
    """A file that a tuning made, from its row."""
    return {
        "id": row["id"],
        "object": "file",
        "bytes": row["bytes"],
        "created_at": seconds(row["created_at"]),
        "filename": row["name"],
        "purpose": "fine-tune-results",
        "status": "processed",
        "status_details": None,
        "sha256": row["sha256"],
    }


def base_model_view(model: BaseModel) -> dict[str, Any]:
    """The model object of a base model."""
    return {
        "id": model.id,
        "object": "model",
        "created": seconds(model.created_at),
        "owned_by": "tunesmith",
        "context_length": model.context_length,
        "parameters": model.parameters,
        "license": model.license,
        "revision": model.revision,
    }


def tuned_model_view(row: Any) -> dict[str, Any]:
    """The model object of a fine-tuned model, from its row."""
    return {
        "id": row["id"],
        "object": "model",
        "created": seconds(row["created_at"]),
        "owned_by": row["account_id"],
        "base_model": row["base"],
        "tuning": row["tuning_id"],
    }


def page(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A list answer, of one row more than `limit` when there is a next page."""
    shown = rows[:limit]
    return {
        "object": "list",
        "data": shown,
        "has_more": len(rows) > limit,
        "first_id": shown[0].get("id") if shown else None,
        "last_id": shown[-1].get("id") if shown else None,
    }


def step_of(value: str | None) -> Step | None:
    """A step out of its jsonb column."""
    return msgspec.json.decode(value, type=Step) if value else None
