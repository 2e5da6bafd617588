"""What tests of the child ask it, and what they read of what it leaves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from app.domain.hyperparameters import Hyperparameters, resolve
from app.trainer_worker.child import Child
from app.trainer_worker.training import frames
from app.trainer_worker.training.plan import Plan, Request

EXAMPLE = Path(__file__).parents[3] / "examples" / "order_mails"
WITHIN = 120.0
TIMES = ("tokens_per_second", "seconds_left", "memory_peak")
LAST = (frames.Saved, frames.Verified, frames.Failed, frames.Rested)


def hyperparameters(*, rows: int = 8, **given: Any) -> Hyperparameters:
    asked: dict[str, Any] = {"rank": 4, "epochs": 1, "batch_size": 4, "learning_rate": 1e-2} | given
    method = asked.pop("method", "supervised")
    resolved = resolve(asked, rows=rows, context_length=2048, method=method, validation=True)
    assert isinstance(resolved, Hyperparameters), resolved
    return resolved


async def told(child: Child, request: Request) -> list[frames.Frame]:
    """What the child tells until it has done what was asked, or failed."""
    await child.send(request)
    heard: list[frames.Frame] = []
    async with asyncio.timeout(WITHIN):
        while not (heard and isinstance(heard[-1], LAST)):
            heard.append(await child.next_frame())
    return heard


def weights(plan: Plan) -> bytes:
    return (Path(plan.output_dir) / "adapter" / "adapter_model.safetensors").read_bytes()


def curve(plan: Plan) -> list[dict[str, Any]]:
    """The loss curve, but for what differs from one machine and hour to the next."""
    lines = (Path(plan.output_dir) / "results" / "metrics.jsonl").read_text().splitlines()
    return [{name: it for name, it in json.loads(line).items() if name not in TIMES} for line in lines]
