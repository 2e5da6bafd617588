"""What tests of the child ask it, and what they read of what it leaves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from safetensors.numpy import load_file

from app.domain.hyperparameters import Hyperparameters, resolve
from app.trainer_worker.child import Child, ChildDied
from app.trainer_worker.training import frames
from app.trainer_worker.training.plan import Plan, Request, Rest, Train
from tests.integration.training.forks import ended, pid_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "order_mails"
WITHIN = 120.0
TIMES = ("tokens_per_second", "seconds_left", "memory_peak")
LAST = (frames.Saved, frames.Verified, frames.Merged, frames.Failed, frames.Rested)


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


async def saved(child: Child, plan: Plan) -> frames.Saved:
    """The end of a run that ends well."""
    last = (await told(child, Train(plan)))[-1]
    assert isinstance(last, frames.Saved), last
    return last


async def failed(child: Child, plan: Plan) -> frames.Failed:
    """The end of a run that fails, in a sentence that tells nothing of how and where."""
    last = (await told(child, Train(plan)))[-1]
    assert isinstance(last, frames.Failed), last
    assert not re.search(r"/|Traceback|Error|<", last.message), last
    return last


def weights(plan: Plan) -> bytes:
    return (Path(plan.output_dir) / "adapter" / "adapter_model.safetensors").read_bytes()


def apart(one: Plan, other: Plan) -> float:
    """The largest difference between two adapters' numbers."""
    ours, theirs = (
        load_file(Path(plan.output_dir) / "adapter" / "adapter_model.safetensors") for plan in (one, other)
    )
    assert ours.keys() == theirs.keys()
    return max(float(abs(ours[name] - theirs[name]).max()) for name in ours)


def manifest(plan: Plan) -> Any:
    """The run's manifest."""
    return json.loads((Path(plan.output_dir) / "results" / "manifest.json").read_text())


def examples(plan: Plan) -> list[Any]:
    """What was told of its rows, one by one."""
    told = (Path(plan.output_dir) / "results" / "examples.jsonl").read_text()
    return [json.loads(line) for line in told.splitlines()]


def curve(plan: Plan) -> list[dict[str, Any]]:
    """The loss curve, but for what differs from one machine and hour to the next."""
    lines = (Path(plan.output_dir) / "results" / "metrics.jsonl").read_text().splitlines()
    return [{name: it for name, it in json.loads(line).items() if name not in TIMES} for line in lines]


def resuming(plan: Plan) -> Plan:
    """The plan of the next attempt."""
    return replace(plan, resume_dir=str(Path(plan.output_dir) / "checkpoints"))


def same(left: Plan, whole: Plan) -> None:
    assert curve(left) == curve(whole)
    assert hashlib.sha256(weights(left)).hexdigest() == hashlib.sha256(weights(whole)).hexdigest()


async def left_after(
    child: Child, plan: Plan, when: type[frames.Frame], count: int = 1
) -> frames.Rested | frames.Saved:
    """Ask a run to be left once it has told so many of these."""
    await child.send(Train(plan))
    async with asyncio.timeout(WITHIN):
        while True:
            frame = await child.next_frame()
            assert not isinstance(frame, frames.Failed), frame
            if isinstance(frame, when) and (count := count - 1) == 0:
                await child.send(Rest())
            if isinstance(frame, frames.Rested | frames.Saved):
                return frame


async def killed(child: Child, plan: Plan, moment: Callable[[frames.Frame], bool], delay: float) -> bool:
    """Kill a run so long after a frame; whether it was in time."""
    await child.send(Train(plan))
    killing: asyncio.TimerHandle | None = None
    try:
        async with asyncio.timeout(WITHIN):
            while True:
                frame = await child.next_frame()
                assert not isinstance(frame, frames.Failed), frame
                if killing is None and moment(frame):
                    later = asyncio.get_running_loop().call_later
                    killing = later(delay, os.kill, pid_of(child), signal.SIGKILL)
                if isinstance(frame, frames.Saved):
                    return False
    except ChildDied:
        return True
    finally:
        if killing is not None:
            killing.cancel()
        await ended(child)
