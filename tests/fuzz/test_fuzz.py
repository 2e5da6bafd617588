"""A small fuzzing of every operation, the same each time; `make test-fuzz` does thousands of cases."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.company import fuzzed_service
from tests.fuzz.fuzzing import fuzz

SMALL = ("--phases", "fuzzing,stateful", "--max-examples", "1", "--seed", "1")


async def test_no_case_finds_a_fault_of_the_server_or_an_answer_that_is_not_told(
    database: str, tmp_path: Path
) -> None:
    async with fuzzed_service(database, tmp_path) as service:
        found = await fuzz(service, *SMALL)
    assert found.passed, found.told
    assert found.cases > 100, found.told
    made = ("createTuning", "createKey", "createAccount", "createWebhook", "createUpload", "uploadFile")
    assert sum(map(found.taken, made)) > 0, found.answers
