"""The read model held against the log: equal, and each way in which a row can be wrong."""

from __future__ import annotations

import pytest

from app.domain.files import RecordCheck, RegisterFile
from app.domain.streams import STREAMS
from app.domain.tunings import CancelTuning, CreateTuning, FileRef, ModelRef
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


async def projected(model: Model) -> MemoryLog:
    """Two tunings and a file, on the log and in the read model."""
    log = memory_log()
    async with handling(log, "files", "tunings"), model.kept_up(log):
        upload = RegisterFile("acct-a", "a.jsonl", "fine-tune", 10, "aa", "files/a")
        await send(log, FILES, "file-a", upload, RecordCheck("chat", 4, 0))
        await send(log, TUNINGS, "job-a", CREATE, CancelTuning())
        await send(log, TUNINGS, "job-b", CREATE)
        await replies_to(log, 5)
        await model.until("SELECT count(*) FROM tunings WHERE version = 1 OR status = 'cancelled'", 2)
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
        await replies_to(log, 6)
    assert (await audit(log, STREAMS.values(), await read_model_copies(model.dsn))).wrong == {}
