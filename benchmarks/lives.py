"""Commands as tunings get them: a create, then what scheduler and worker say of it until it succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.domain.hyperparameters import Hyperparameters, resolve
from app.domain.ids import derive_id
from app.domain.tunings import (
    TUNINGS,
    AssignAttempt,
    Attempt,
    CreateTuning,
    EpochResult,
    FileRef,
    ModelRef,
    ReportEpoch,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
)
from app.log.codec import command_record
from app.log.port import Record

EPOCHS = 3
COMMANDS_A_LIFE = 4 + EPOCHS
AT_ONCE = 400
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def commands(jobs: int, *, creates_only: bool = False) -> Iterator[Record]:
    """The commands of so many jobs; some hundred of them live at a time, each step in turn."""
    for first in range(0, jobs, AT_ONCE):
        ids = [derive_id("job", str(number)) for number in range(first, min(first + AT_ONCE, jobs))]
        for step in range(1 if creates_only else COMMANDS_A_LIFE):
            for id in ids:
                yield command(id, step, body(id, step))


def command(id: str, step: int, body: Any) -> Record:
    return command_record(
        TUNINGS,
        id=derive_id("cmd", id, str(step)),
        aggregate_id=id,
        actor="key:key-aaaaaaaaaaaaaaaaaaaaaaaa",
        correlation_id=derive_id("req", id),
        source="api",
        body=body,
    )


def create(id: str) -> CreateTuning:
    resolved = resolve({"rank": 8, "epochs": EPOCHS, "batch_size": 16}, rows=1000, context_length=2048)
    assert isinstance(resolved, Hyperparameters)
    return CreateTuning(
        account_id="acct-aaaaaaaaaaaaaaaaaaaaaaaa",
        model=ModelRef("smollm2-135m-instruct", "12fd25f77366fa6b3b4b768ec3050bf629380bac"),
        training_file=FileRef("file-aaaaaaaaaaaaaaaaaaaaaaaa", DIGEST, f"files/{DIGEST}", 1_000_000, 1000),
        validation_file=None,
        hyperparameters=resolved,
        suffix="order-mails",
        metadata={"team": "support"},
        seed=1234567,
        memory=2_000_000_000,
        request_hash=DIGEST,
    )


def body(id: str, step: int) -> Any:
    """The command that a life's step is."""
    match step:
        case 0:
            return create(id)
        case 1:
            return AssignAttempt(Attempt(1, "trainer-1", "session-1", 0))
        case 2:
            return ReportStarted(1, "session-1")
        case _ if step < COMMANDS_A_LIFE - 1:
            return ReportEpoch(1, "session-1", EpochResult(step - 2, 60 * (step - 2), 1.25, None))
    files = tuple(
        ResultFile(derive_id("file", id, name), name, 1_000_000, DIGEST, f"tunings/{id}/1/{name}")
        for name in ("adapter_model.safetensors", "adapter_config.json")
    )
    return ReportSucceeded(1, "session-1", 1.25, None, 100_000, files)
