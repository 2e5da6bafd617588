"""What a child is told of the world: no secrets of ours, and of trackers what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings, SettingsError
from app.trainer_worker.surroundings import surroundings, trackers_of

OURS = {
    "PATH": "/bin",
    "TOKENIZERS_PARALLELISM": "false",
    "NCCL_DEBUG": "INFO",
    "CUDA_VISIBLE_DEVICES": "0,1",
    "TUNESMITH_DATABASE": "postgresql://u:p@h/d",
    "TUNESMITH_HUB_TOKEN": "hf_x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "HF_TOKEN": "x",
    "OPENAI_API_KEY": "x",
    "PGPASSWORD": "x",
    "WANDB_API_KEY": "w",
    "WANDB_MODE": "offline",
    "MLFLOW_TRACKING_TOKEN": "m",
}


def test_a_child_gets_what_it_computes_with_and_no_secret() -> None:
    assert surroundings(OURS) == {
        "PATH": "/bin",
        "TOKENIZERS_PARALLELISM": "false",
        "NCCL_DEBUG": "INFO",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "TUNESMITH_TRACKERS": "",
    }
    assert surroundings(OURS, "1")["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_tracker_that_is_configured_gets_its_own_variables_and_those_of_no_other(tmp_path: Path) -> None:
    given = surroundings(OURS, None, ("wandb", "tensorboard"), tmp_path)
    assert (given["WANDB_API_KEY"], given["WANDB_MODE"]) == ("w", "offline")
    assert (given["WANDB_PROJECT"], given["WANDB_DIR"]) == ("tunesmith", str(tmp_path / "wandb"))
    assert given["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "tensorboard")
    assert given["TUNESMITH_TRACKERS"] == "wandb,tensorboard"
    assert not [name for name in given if name.startswith("MLFLOW")]
    own = surroundings(OURS | {"TENSORBOARD_LOGGING_DIR": "/boards"}, None, ("tensorboard",), tmp_path)
    assert own["TENSORBOARD_LOGGING_DIR"] == "/boards"


def test_a_tracker_that_is_not_there_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="there is no tracker neptune; there are tensorboard, mlflow"):
        trackers_of(Settings(trackers="neptune"))
    monkeypatch.setattr("app.trainer_worker.surroundings.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'tunesmith-server\[mlflow\]'"):
        trackers_of(Settings(trackers=" mlflow,"))
    assert trackers_of(Settings()) == ()
