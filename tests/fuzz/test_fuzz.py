"""A small fuzzing of every operation, the same each time; `make test-fuzz` does thousands of cases."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.fuzzing import fuzz
from tests.integration.api.service import memory_log, running

SMALL = ("--phases", "fuzzing,stateful", "--max-examples", "1", "--generation-deterministic")


async def test_no_case_finds_a_fault_of_the_server_or_an_answer_that_is_not_told(
    database: str, tmp_path: Path
) -> None:
    async with running(memory_log(), database, tmp_path) as service:
        found = await fuzz(service, *SMALL)
    assert found.passed, found.told
    assert found.cases > 100, found.told
