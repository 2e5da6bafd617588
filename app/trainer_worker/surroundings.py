"""The environment of a child: ours without secrets, its own device, and what its trackers are told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from app.settings import Settings, SettingsError

# Whoever trains on other people's files has no business with these.
SECRET = re.compile(
    r"^(TUNESMITH|AWS|AZURE|GOOGLE|GCP)_|(^|_)(TOKENS?|SECRETS?|CREDENTIALS?|KEY|DSN)(_|$)|PASSWORD|PASSWD",
    re.IGNORECASE,
)

# What each tracker reads of the environment, and its package.
TRACKERS = {
    "tensorboard": (re.compile(r"^TENSORBOARD_"), "tensorboard"),
    "mlflow": (re.compile(r"^(HF_)?MLFLOW_"), "mlflow"),
    "wandb": (re.compile(r"^WANDB_"), "wandb"),
}

# Unless the operator says otherwise; a tracker that does not answer must not hold up training for long.
DEFAULTS = {
    "tensorboard": {},
    "mlflow": {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_ALLOW_FILE_STORE": "true",
    },
    "wandb": {"WANDB_INIT_TIMEOUT": "30", "WANDB_SILENT": "true", "WANDB_PROJECT": "tunesmith"},
}


def trackers_of(settings: Settings) -> tuple[str, ...]:
    """The trackers that are configured. Raises `SettingsError` for one that is not there."""
    names = tuple(dict.fromkeys(part.strip() for part in settings.trackers.split(",") if part.strip()))
    for name in names:
        if name not in TRACKERS:
            raise SettingsError(
                f"TUNESMITH_TRACKERS: there is no tracker {name}; there are {', '.join(TRACKERS)}"
            )
        package = TRACKERS[name][1]
        if find_spec(package) is None:
            raise SettingsError(
                f"TUNESMITH_TRACKERS names {name}, but the package {package} is not installed: "
                f"pip install 'tunesmith-server[{name}]'"
            )
    return names


def surroundings(
    environment: Mapping[str, str],
    visible: str | None = None,
    trackers: Sequence[str] = (),
    tracking: Path | None = None,
) -> dict[str, str]:
    """The variables that a child gets; `visible` are the CUDA devices it sees, None: those that we do.

    Trackers keep below `tracking` what they keep on this machine, unless they are told otherwise.
    """
    patterns = {name: pattern for name, (pattern, _) in TRACKERS.items()}
    kept: dict[str, str] = {}
    for variable, value in environment.items():
        owners = [name for name, pattern in patterns.items() if pattern.search(variable)]
        if any(name in trackers for name in owners) or not (owners or SECRET.search(variable)):
            kept[variable] = value
    if visible is not None:
        kept["CUDA_VISIBLE_DEVICES"] = visible
    for name in trackers:
        kept = DEFAULTS[name] | kept
    kept["TUNESMITH_TRACKERS"] = ",".join(trackers)
    if tracking is not None:
        kept = _places(tracking, trackers) | kept
    return kept


def _places(tracking: Path, trackers: Sequence[str]) -> dict[str, str]:
    places = {
        "tensorboard": {"TENSORBOARD_LOGGING_DIR": str(tracking / "tensorboard")},
        "mlflow": {"MLFLOW_TRACKING_URI": f"file://{tracking / 'mlflow'}"},
        "wandb": {"WANDB_DIR": str(tracking / "wandb")},
    }
    return {name: value for tracker in trackers for name, value in places[tracker].items()}
