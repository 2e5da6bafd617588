"""The read model held against the log: equal, and each way in which a row can be wrong."""

from __future__ import annotations

import pytest

from app.domain.accounts import ACCOUNTS, IssueKey, OpenAccount
from app.domain.files import RecordCheck, RegisterFile
from app.domain.streams import STREAMS
from app.domain.tunings import (
    AssignAttempt,
    Attempt,
    CancelTuning,
    CreateTuning,
    FileRef,
    ModelRef,
    ReportStarted,
    ReportSucceeded,
    ResultFile,
)
from app.log.audit import audit
from app.log.memory import MemoryLog
from app.projections.copies import read_model_copies
from tests.handling import handling, replies_to, send
from tests.integration.projections.appended import CREATED, FILES, TUNINGS, memory_log
from tests.integration.projections.conftest import Model

CREATE = CreateTuning(
    "acct-a",
    ModelRef("m", "r1"),
    FileRef("file-a", "aa", "files/a", 10, 10),
    None,
    CREATED.hyperparameters,
    metadata={"team": "a", "a": "z"},
)
RESULTS = (ResultFile("file-r", "curve.csv", 3, "cd", "results/r"),)
END = (ReportStarted(1, "s"), ReportSucceeded(1, "s", 1.5, None, 10, RESULTS))


async def projected(model: Model) -> MemoryLog:
    """Three tunings, a file and an account, on the log and in the read model."""
    log = memory_log()
    async with handling(log, "accounts", "files", "tunings"), model.kept_up(log):
        await send(log, ACCOUNTS, "acct-a", OpenAccount("a"), IssueKey("key-a", "ab", "first", ("read",)))
        upload = RegisterFile("acct-a", "a.jsonl", "fine-tune", 10, "aa", "files/a")
        await send(log, FILES, "file-a", upload, RecordCheck("chat", 4, 0))
        await send(log, TUNINGS, "job-a", CREATE, CancelTuning())
        await send(log, TUNINGS, "job-b", CREATE)
        await send(log, TUNINGS, "job-c", CREATE, AssignAttempt(Attempt(1, "w", "s", 0)), *END)
        await replies_to(log, 11)
        await model.until("SELECT count(*) FROM tunings WHERE version = 1 OR finished_at IS NOT NULL", 3)
        await model.until("SELECT count(*) FROM api_keys", 1)
        await model.until("SELECT version FROM files", 2)
    return log


async def test_the_read_model_is_what_the_log_makes(model: Model) -> None:
    log = await projected(model)
    assert (await audit(log, STREAMS.values(), await read_model_copies(model.dsn))).wrong == {}


@pytest.mark.parametrize(
    ("harm", "names"),
    [
        ("UPDATE tunings SET status = 'running' WHERE id = 'job-b' RETURNING 1", "job-b"),
        ("UPDATE tunings SET metadata = '{}' WHERE id = 'job-a' RETURNING 1", "job-a"),
        ("UPDATE files SET state = replace(state::text, 'chat', 'chap')::json RETURNING 1", "file-a"),
        ("UPDATE tunings SET version = 3 WHERE id = 'job-a' RETURNING 1", "job-a"),
        ("DELETE FROM tunings WHERE id = 'job-b' RETURNING 1", "job-b at version 0"),
        ("DELETE FROM tuning_events WHERE tuning_id = 'job-b' RETURNING 1", "job-b"),
        ("UPDATE tuning_events SET actor = 'key:x' WHERE tuning_id = 'job-a' RETURNING 1", "job-a"),
        ("UPDATE tuned_models SET base = 'other' WHERE tuning_id = 'job-c' RETURNING 1", "job-c"),
        ("DELETE FROM result_files RETURNING 1", "job-c"),
        ("UPDATE api_keys SET scopes = '{admin}' RETURNING 1", "acct-a"),
        ("INSERT INTO api_keys SELECT 'key-x', 'ee', 'acct-x', 'x', '{}', now() RETURNING 1", "acct-x"),
    ],
)
async def test_a_row_that_is_not_is_named(model: Model, harm: str, names: str) -> None:
    log = await projected(model)
    await model.rows(harm)
    wrong = (await audit(log, STREAMS.values(), await read_model_copies(model.dsn))).wrong
    assert len(wrong) == 1
    assert names in next(iter(wrong.values()))


async def test_a_read_model_that_lags_is_not_wrong(model: Model) -> None:
    log = await projected(model)
    async with handling(log, "tunings"):
        await send(log, TUNINGS, "job-b", CancelTuning(), ids=["late"])
        await replies_to(log, 12)
    assert (await audit(log, STREAMS.values(), await read_model_copies(model.dsn))).wrong == {}
