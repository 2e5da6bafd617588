"""How many rows of the audit log many refusals are."""

from __future__ import annotations

from typing import Any

from app.api.audit import ROWS_OF_ALL, ROWS_OF_ONE, Audit, Entry, unread
from app.api.errors import ApiError


class Table:
    """A pool that keeps the rows it is given."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    async def execute(self, _: str, ids: list[str], *columns: list[Any]) -> None:
        self.rows |= dict(zip(ids, columns[-1], strict=True))


def refusal(number: int, address: str = "here", code: str = "not_found") -> Entry:
    entry = unread(ApiError(404, code, "no"), f"req-{address}-{number}", address)
    entry.target = str(number)
    return entry


async def written(*entries: Entry, counted: bool = True) -> list[int]:
    table = Table()
    audit = Audit(table)  # type: ignore[arg-type]
    for number, entry in enumerate(entries):
        audit.add(entry, counted=counted)
        if number == len(entries) // 2:
            await audit._flush()
    await audit._flush()
    return list(table.rows.values())


async def test_the_same_again_is_counted_by_the_row_that_is_there_already() -> None:
    entries = [refusal(1) for _ in range(100)]
    for number, entry in enumerate(entries):
        entry.id = f"audit-{number}"
    assert await written(*entries) == [100]


async def test_one_caller_has_so_many_rows_a_minute_and_one_a_code_for_the_rest() -> None:
    entries = [refusal(number, code=f"code-{number % 2}") for number in range(1_000)]
    rows = await written(*entries)
    assert len(rows) == ROWS_OF_ONE + 2
    assert sum(rows) == 1_000


async def test_from_however_many_addresses_there_are_no_more_than_so_many() -> None:
    rows = await written(*(refusal(number, address=f"2001:db8::{number:x}") for number in range(10_000)))
    assert len(rows) == ROWS_OF_ALL + 1
    assert sum(rows) == 10_000


async def test_whatever_changed_something_is_a_row_of_its_own() -> None:
    assert await written(*(refusal(number) for number in range(1_000)), counted=False) == [1] * 1_000
