"""What was read once is believed until the projector tells of a change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.api.known import Known
from app.domain.files import File
from app.domain.models import BaseModel

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
FILE = File(
    "file-a", "acct-a", "train.jsonl", "fine-tune", 10, "aa", "files/a", AT, status="processed", rows=4
)
MODEL = BaseModel("small", "1", 2048, 1000, "Apache-2.0", AT)


class Table:
    """The read model's rows as a pool gives them; `meanwhile` happens while they are on their way."""

    def __init__(self, *states: File | BaseModel) -> None:
        self.rows = {state.id: state for state in states}
        self.asked: list[list[str]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def fetch(self, _: str, ids: list[str]) -> list[dict[str, Any]]:
        self.asked.append(sorted(ids))
        found = [
            {"id": id, "state": msgspec.json.encode(self.rows[id]).decode()} for id in ids if id in self.rows
        ]
        self.meanwhile()
        return found


@pytest.fixture
def table() -> Table:
    return Table(FILE, MODEL)


@pytest.fixture
def known(table: Table) -> Known:
    known = Known(table)  # type: ignore[arg-type]
    known.heard = True
    return known


async def test_what_was_read_is_not_asked_for_again(known: Known, table: Table) -> None:
    for _ in range(3):
        assert await known.states(["file-a", "small"]) == {"file-a": FILE, "small": MODEL}
    assert table.asked == [["file-a", "small"]]


async def test_what_is_not_there_is_asked_for_each_time(known: Known, table: Table) -> None:
    assert await known.states(["file-b"]) == {}
    assert await known.states(["file-b"]) == {}
    assert table.asked == [["file-b"]] * 2


async def test_what_changed_is_read_anew_and_a_tuning_changes_nothing(known: Known, table: Table) -> None:
    await known.states(["file-a", "small"])
    known.forget("job-a")
    known.forget("file-a")
    table.rows["file-a"] = deleted = msgspec.structs.replace(FILE, status="deleted")
    assert await known.states(["file-a", "small"]) == {"file-a": deleted, "small": MODEL}
    assert table.asked[1:] == [["file-a"]]


async def test_what_changed_while_it_was_read_is_not_kept(known: Known, table: Table) -> None:
    table.meanwhile = lambda: known.forget("file-a")
    await known.states(["file-a"])
    await known.states(["file-a"])
    assert table.asked == [["file-a"]] * 2


async def test_nothing_is_kept_while_nobody_hears_of_changes(known: Known, table: Table) -> None:
    await known.states(["file-a"])
    known.heard = False
    known.forget_all()
    await known.states(["file-a"])
    await known.states(["file-a"])
    assert table.asked == [["file-a"]] * 3
