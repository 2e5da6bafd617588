"""Trackers beside a run, each with its own package where that is installed (`make test-trackers`).

A child of its own for each, as a worker starts it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.catalogue.at_hand import model_folder
from app.catalogue.catalogue import Entry
from app.domain.hyperparameters import Hyperparameters, resolve
from app.trainer_worker.child import Child
from app.trainer_worker.surroundings import surroundings
from app.trainer_worker.training import frames
from app.trainer_worker.training.plan import Plan, Train
from tests.faults.rounds import rounds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(rounds(0, 1) == 0, reason="with FAULTS=every; one round is in test_worker.py"),
]

EXAMPLE = Path(__file__).parents[3] / "examples" / "order_mails"
JOB, STEPS = "job-tracked", 4


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"needs {package}")


async def trained(tmp_path: Path, tiny: Entry, tracker: str, environment: Mapping[str, str]) -> str:
    """Train four steps with a tracker; what the child printed."""
    lines = (EXAMPLE / "train.jsonl").read_text().splitlines(keepends=True)[:16]
    (tmp_path / "train.jsonl").write_text("".join(lines))
    asked = {"rank": 4, "epochs": 1, "batch_size": 4, "learning_rate": 1e-2}
    hyperparameters = resolve(asked, rows=16, context_length=2048)
    assert isinstance(hyperparameters, Hyperparameters)
    plan = Plan(
        job_id=JOB,
        attempt=1,
        seed=7,
        model_id=tiny.id,
        model_revision=tiny.revision,
        model_dir=str(model_folder(tmp_path, tiny)),
        training_file=str(tmp_path / "train.jsonl"),
        hyperparameters=hyperparameters,
        output_dir=str(tmp_path / "output"),
    )
    given = surroundings({**os.environ, **environment}, "", (tracker,), tmp_path / "tracking")
    child = await Child.start(tmp_path / "child.log", given)
    try:
        async with asyncio.timeout(200):
            await child.until_ready()
            await child.send(Train(plan))
            while not isinstance(last := await child.next_frame(), frames.Saved | frames.Failed):
                pass
    finally:
        await child.stop()
    assert isinstance(last, frames.Saved), last
    return child.output.read_text()


@needs("tensorboard")
async def test_a_tracker_that_breaks_is_left_out_and_training_goes_on(tmp_path: Path, tiny: Entry) -> None:
    (tmp_path / "in-the-way").write_text("a file where a folder should be")
    environment = {"TENSORBOARD_LOGGING_DIR": str(tmp_path / "in-the-way")}
    printed = await trained(tmp_path, tiny, "tensorboard", environment)
    assert printed.count("warning: TensorBoardCallback broke, the run goes on without it") == 1


@needs("mlflow")
async def test_mlflow_has_a_run_of_the_jobs_name_with_its_curve(
    tmp_path: Path, tiny: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    printed = await trained(tmp_path, tiny, "mlflow", {})
    assert "broke" not in printed
    from mlflow import MlflowClient

    client = MlflowClient(f"file://{tmp_path / 'tracking' / 'mlflow'}")
    [run] = client.search_runs(["0"])
    assert (run.info.run_name, run.info.status) == (JOB, "FINISHED")
    assert len(client.get_metric_history(run.info.run_id, "loss")) == STEPS


@needs("mlflow")
async def test_mlflow_that_does_not_answer_holds_nothing_up(tmp_path: Path, tiny: Entry) -> None:
    printed = await trained(tmp_path, tiny, "mlflow", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert "warning: MLflowCallback broke" in printed


@needs("wandb")
async def test_weights_and_biases_keeps_a_run_offline(tmp_path: Path, tiny: Entry) -> None:
    (tmp_path / "tracking" / "wandb").mkdir(parents=True)
    printed = await trained(tmp_path, tiny, "wandb", {"WANDB_MODE": "offline"})
    assert "broke" not in printed
    [run] = (tmp_path / "tracking" / "wandb").rglob("run-*.wandb")
    assert JOB in run.name
