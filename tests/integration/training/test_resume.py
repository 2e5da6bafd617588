"""A run that is killed or left, and taken up again, ends as one that nobody disturbed: to the last bit."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app.storage.keys import MANIFEST
from app.trainer_worker.child import Child
from app.trainer_worker.training import checkpoints, frames
from app.trainer_worker.training.plan import Plan, Train
from tests.faults.rounds import rounds
from tests.integration.training.forks import Forks, ended, pid_of
from tests.integration.training.runs import hyperparameters, killed, left_after, resuming, same, told

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not rounds(0, 1), reason="one round of each is in test_training.py"),
]

SMALL: dict[str, Any] = {"batch_size": 4, "gradient_accumulation": 2, "dropout": 0.1, "epochs": 2}
PACKED: dict[str, Any] = {"packing": True, "max_length": 256, "batch_size": 2, "epochs": 3, "dropout": 0.1}
# A rate at which the first steps help and later ones do harm.
STOPPED: dict[str, Any] = SMALL | {
    "epochs": 20,
    "eval_every": 1,
    "early_stopping_patience": 2,
    "scheduler": "constant",
    "learning_rate": 0.3,
    "warmup_ratio": 0,
}
KILLS = 25


def flipped(folder: Path) -> None:
    content = bytearray((folder / "optimizer.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "optimizer.pt").write_bytes(content)


def cut_off(folder: Path) -> None:
    os.truncate(folder / "weights.pt", 1000)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def of_no_run(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"run": "', b'"run": "0'))


DAMAGES = (flipped, cut_off, without(MANIFEST), without("state.json"), of_no_run)
KINDS: dict[str, dict[str, Any]] = {
    "fp32": SMALL | {"eval_every": 3, "batch_size": 2},
    "nf4": SMALL | {"use_quantization": True, "use_dora": True, "weight_decay": 0.1},
    "packed": PACKED,
    "dpo": SMALL | {"method": "dpo", "learning_rate": 0.05},
    "stopped early": STOPPED,
    "steps": SMALL | {"epochs": "auto", "max_steps": 5, "batch_size": 2},
}


def of_kind(plan: Plan, kind: str) -> Plan:
    hyper, method = hyperparameters(**KINDS[kind]), "dpo" if kind == "dpo" else "supervised"
    plan = replace(plan, hyperparameters=hyper, method=method, checkpoint_steps=1)
    if kind == "dpo":
        files = [paired(Path(path)) for path in (plan.training_file, plan.validation_file or "")]
        plan = replace(plan, training_file=str(files[0]), validation_file=str(files[1]))
    return plan


def paired(path: Path) -> Path:
    """A file's rows as pairs for dpo, in a file beside it."""
    rows = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
    no = [{"role": "assistant", "content": "No."}]
    pairs = [{"prompt": row[:-1], "chosen": row[-1:], "rejected": no} for row in rows]
    beside = path.with_suffix(".pairs.jsonl")
    beside.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return beside


async def test_a_run_left_again_and_again_ends_as_one_that_was_not(child: Child, plan: Plan) -> None:
    for kind in KINDS:
        whole = of_kind(plan, kind)
        await told(child, Train(whole))
        now = replace(whole, output_dir=f"{whole.output_dir}-{kind}", checkpoint_steps=None)
        kinds = (frames.Step, frames.Phase, frames.Epoch, frames.Evaluation)
        for round in range(100):
            end = await left_after(child, now, kinds[round % len(kinds)], 1 + round % 3)
            now = resuming(now)
            if isinstance(end, frames.Saved):
                break
        assert round > 0
        same(now, whole)


@pytest.mark.parametrize("kind", ["fp32", "nf4", "dpo", "stopped early"])
async def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(
    forks: Forks, plan: Plan, tmp_path: Path, kind: str
) -> None:
    random.seed(kind)
    whole, child = of_kind(plan, kind), await forks.child(tmp_path / "whole.log")
    began = time.monotonic()
    await told(child, Train(whole))
    await ended(child)
    takes = time.monotonic() - began
    kills = 0
    for run in range(1000):
        now = replace(whole, output_dir=f"{whole.output_dir}-{run}", checkpoint_steps=1 + run % 2)
        for life in range(1000):
            child = await forks.child(tmp_path / f"{run}.{life}.log")
            if not await killed(child, now, lambda _: True, random.uniform(0, takes)):
                break
            kills += 1
            now = resuming(now)
        same(now, whole)
        if kills >= KILLS:
            return


@pytest.mark.parametrize("kind", ["fp32", "nf4"])
async def test_so_does_one_killed_while_it_evaluates_or_writes_a_checkpoint(
    forks: Forks, plan: Plan, tmp_path: Path, kind: str
) -> None:
    random.seed(kind)
    whole, child = of_kind(plan, kind), await forks.child(tmp_path / "whole.log")
    await told(child, Train(whole))
    await ended(child)
    now = replace(whole, output_dir=f"{whole.output_dir}-killed")
    folder, torn = Path(now.output_dir) / "checkpoints", 0
    evaluates = frames.Phase("evaluating")
    for life in range(8):
        child = await forks.child(tmp_path / f"{life}.log")
        if life % 2:
            if not await killed(child, now, lambda frame: frame == evaluates, random.uniform(0, 0.1)):
                break
        elif not await killed_while_writing(child, now, folder):
            break
        torn += any(folder.glob(f"{checkpoints.UNFINISHED}*"))
        now = resuming(now)
    assert torn
    child = await forks.child(tmp_path / "last.log")
    assert isinstance((await told(child, Train(now)))[-1], frames.Saved)
    await ended(child)
    same(now, whole)


async def killed_while_writing(child: Child, plan: Plan, folder: Path) -> bool:
    """Kill a run as soon as it has begun to write a checkpoint; whether it was in time."""
    pid, done = pid_of(child), threading.Event()
    for left in folder.glob(f"{checkpoints.UNFINISHED}*"):
        shutil.rmtree(left)

    def watch() -> None:
        while not done.is_set():
            if any(folder.glob(f"{checkpoints.UNFINISHED}*")):
                os.kill(pid, signal.SIGKILL)
                return

    watching = asyncio.create_task(asyncio.to_thread(watch))
    try:
        return await killed(child, plan, lambda _: False, 0)
    finally:
        done.set()
        await watching


async def test_what_is_torn_or_has_other_bytes_is_passed_over_for_the_next_older_one(
    child: Child, plan: Plan
) -> None:
    whole = replace(
        of_kind(plan, "fp32"), hyperparameters=hyperparameters(**KINDS["fp32"], checkpoints_kept=9)
    )
    await told(child, Train(whole))
    kept = Path(whole.output_dir) / "checkpoints"
    for number, damage in enumerate(DAMAGES):
        now = replace(
            whole,
            output_dir=f"{whole.output_dir}-{number}",
            resume_dir=str(plan.output_dir) + f"-of-{number}",
        )
        shutil.copytree(kept, now.resume_dir or "")
        newest, older, *_ = checkpoints.newest_first(Path(now.resume_dir or ""))
        damage(newest)
        heard = await told(child, Train(now))
        [planned] = [frame for frame in heard if isinstance(frame, frames.Planned)]
        assert planned.done_steps == checkpoints.read(older).manifest.step
        assert f"checkpoint {newest.name} is skipped: " in child.output.read_text()
        same(now, whole)
