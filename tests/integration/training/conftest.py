"""One process that has imported everything, and a plan for a tiny model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.catalogue.at_hand import model_folder
from app.catalogue.catalogue import Entry
from app.catalogue.memory import estimate
from app.trainer_worker.child import Child
from app.trainer_worker.training.plan import Plan
from tests.integration.training.forks import Forks, ended, forking
from tests.integration.training.runs import EXAMPLE, hyperparameters


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forking(tmp_path_factory.mktemp("forks")) as forks:
        yield forks


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def child(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Child]:
    child = await forks.child(tmp_path_factory.mktemp("child") / "child.log")
    yield child
    await ended(child)


@pytest.fixture
def plan(tmp_path: Path, tiny: Entry) -> Plan:
    """Eight training rows, four for validation, two steps."""
    for name, count in (("train", 8), ("validation", 4)):
        lines = (EXAMPLE / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines[:count]))
    return Plan(
        job_id="job-test",
        attempt=1,
        seed=7,
        model_id=tiny.id,
        model_revision=tiny.revision,
        model_dir=str(model_folder(tmp_path, tiny)),
        training_file=str(tmp_path / "train.jsonl"),
        validation_file=str(tmp_path / "validation.jsonl"),
        hyperparameters=hyperparameters(),
        output_dir=str(tmp_path / "output"),
        memory=estimate(tiny, hyperparameters()),
        examples=0,
    )
