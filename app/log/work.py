"""Orders for trainer workers, on the work topic, keyed by worker."""

from __future__ import annotations

from app.domain.tunings import HandBackAttempt, Order, PauseAttempt, RunAttempt, StopAttempt
from app.log import topics
from app.log.codec import Command, encode, headers
from app.log.port import Record


def order_record(order: Order, command: Command) -> Record:
    """An order that a command made, addressed to its worker."""
    match order:
        case RunAttempt(attempt=attempt, tuning=tuning):
            kind, worker, subject = "run", attempt.worker, tuning.id
        case StopAttempt(worker=worker, tuning_id=subject):
            kind = "stop"
        case PauseAttempt(worker=worker, tuning_id=subject):
            kind = "pause"
        case HandBackAttempt(worker=worker, tuning_id=subject):
            kind = "hand_back"
    attributes = headers(
        id=f"{command.id}:{kind}",
        type=f"tunesmith.work.{kind}.v1",
        source="/tunesmith/command-handler",
        subject=subject,
        causationid=command.id,
        correlationid=command.correlation_id,
    )
    return Record(topics.WORK, worker, encode(order), attributes)
