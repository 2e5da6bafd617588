"""A job's story as commands, and what it must become: told by the deciders alone, with no log between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from app.domain.decider import Accepted, Context, Decider, Recorded
from app.domain.hyperparameters import Hyperparameters
from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    CancelTuning,
    CreateTuning,
    EpochResult,
    FileRef,
    ModelRef,
    PauseTuning,
    ReportEpoch,
    ReportLost,
    ReportStarted,
    ResumeTuning,
)
from app.log.codec import command_record
from app.log.port import Record

CREATE = CreateTuning(
    account_id="acct-a",
    model=ModelRef("base", "r1"),
    training_file=FileRef("file-a", "aa", "files/a", 10, 100),
    validation_file=None,
    hyperparameters=Hyperparameters(alpha=32.0, batch_size=4, max_length=512, epochs=2),
    request_hash="hash",
)
EPOCH = ReportEpoch(1, "s", EpochResult(1, 25, 0.5, None))
# Accepted and refused ones, and with the pause one that makes two events at once.
STORY: tuple[Any, ...] = (
    CREATE,
    AssignAttempt(Attempt(1, "worker-1", "s", 0)),
    ReportStarted(1, "s"),
    EPOCH,
    ReportLost(1, "s", "worker_lost"),
    PauseTuning(),
    EPOCH,
    ResumeTuning(),
    CancelTuning(),
)
# In a log that is whole nobody ever sees the first without the second.
TOGETHER = ("pause_requested", "paused")


class Sent(Struct, frozen=True):
    """A command under its id, which may be sent more than once."""

    id: str
    aggregate_id: str
    body: Any

    def record(self, decider: Decider = TUNINGS) -> Record:
        return command_record(
            decider,
            id=self.id,
            aggregate_id=self.aggregate_id,
            actor="system:test",
            correlation_id=f"req-{self.aggregate_id}",
            source="test",
            body=self.body,
        )


class Outcome(Struct, frozen=True):
    """What became of one command: the events it made, or the code of its refusal."""

    events: tuple[Any, ...] = ()
    refused: str | None = None


def story(id: str, commands: Iterable[Any] = STORY) -> list[Sent]:
    """The story of one job."""
    return [Sent(f"cmd-{id}-{number}", id, body) for number, body in enumerate(commands)]


def outcomes(commands: Sequence[Sent], decider: Decider = TUNINGS) -> dict[str, Outcome]:
    """What each command of one job must become, by its id; a repeat changes nothing."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    state, version = None, 0
    found: dict[str, Outcome] = {}
    for one in commands:
        known = found.get(one.id)
        if known is not None and known.refused is None:
            continue
        decision = decider.decide(state, one.body, Context(one.id, one.aggregate_id, "system:test", at))
        if not isinstance(decision, Accepted):
            found[one.id] = Outcome(refused=decision.code)
            continue
        for event in decision.events:
            version += 1
            state = decider.evolve(state, event, Recorded(one.aggregate_id, version, at))
        found[one.id] = Outcome(decision.events)
    return found
