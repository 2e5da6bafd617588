"""Trackers that hear of a run beside the service: by transformers' own callbacks, and never at its cost."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

CONFIGURED = "TUNESMITH_TRACKERS"
EVENTS = [name for name in dir(TrainerCallback) if name.startswith("on_")]

_folder_for_boards = os.environ.get("TENSORBOARD_LOGGING_DIR")


def report_to(job_id: str) -> list[str]:
    """The trackers to report to, told that the run is this job's: later attempts are the same run."""
    if _folder_for_boards is not None:
        os.environ["TENSORBOARD_LOGGING_DIR"] = os.path.join(_folder_for_boards, job_id)  # noqa: PTH118
    os.environ |= {"WANDB_RUN_ID": job_id, "WANDB_RESUME": "allow"}
    return [name for name in os.environ.get(CONFIGURED, "").split(",") if name]


def shield(trainer: Any) -> None:
    """Put each tracker of a trainer behind a shield: one that breaks is left out of the rest of the run."""
    kinds: tuple[type[TrainerCallback], ...] = tuple(
        INTEGRATION_TO_CALLBACK[name] for name in trainer.args.report_to
    )
    handler = trainer.callback_handler
    handler.callbacks = [Shielded(one) if isinstance(one, kinds) else one for one in handler.callbacks]


class Shielded(TrainerCallback):
    """Hands every event on to a tracker, until one of them goes wrong."""

    def __init__(self, tracker: TrainerCallback) -> None:
        self._tracker: TrainerCallback | None = tracker


def _handed_on(event: str) -> Callable[..., None]:
    def hear(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        tracker = self._tracker
        if tracker is None:
            return
        try:
            getattr(tracker, event)(args, state, control, **kwargs)
        except Exception:  # noqa: BLE001 – whatever it is, training goes on
            self._tracker = None
            traceback.print_exc()
            print(f"warning: {type(tracker).__name__} broke, the run goes on without it", file=sys.stderr)

    return hear


for _event in EVENTS:
    setattr(Shielded, _event, _handed_on(_event))
