"""The demo's tuning as a plan for one child, to be measured alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE
from app.domain.hyperparameters import Hyperparameters, resolve
from app.settings import Settings
from app.trainer_worker.training.plan import Plan

ROWS = Path(__file__).parents[1] / "examples" / "order_mails" / "train.jsonl"
MODEL = CATALOGUE["smollm2-135m-instruct"]


def order_mails(count: int) -> list[bytes]:
    """The first lines of the example's training file."""
    return ROWS.read_bytes().splitlines(keepends=True)[:count]


def planned(folder: Path, rows: list[bytes], **asked: Any) -> Plan:
    """A plan as the demo's for these rows, in a folder that is made."""
    folder.mkdir()
    (some := folder / "rows.jsonl").write_bytes(b"".join(rows))
    usual = {"rank": 16, "epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "max_length": 512}
    hyperparameters = resolve(usual | asked, rows=len(rows), context_length=MODEL.context_length)
    assert isinstance(hyperparameters, Hyperparameters)
    return Plan(
        job_id="job-benchmark",
        attempt=1,
        seed=7,
        model_id=MODEL.id,
        model_revision=MODEL.revision,
        model_dir=str(ensure_model(Settings.from_env(os.environ).cache_dir, MODEL, print)),
        training_file=str(some),
        hyperparameters=hyperparameters,
        output_dir=str(folder / "output"),
    )
