"""Tokens per second of a tuning's child process, against the shortest loop over transformers and peft.

    python -m benchmarks.training_overhead [--rows 64] [--rounds 2]

Both train the same rows in the same batches and precision, each in a process of its own, in turns: LoRA, and
QLoRA on 4 bits. What the child does on top (losses for every token, the curve, checks, frames, checkpoints)
is to be paid for by what it saves. The last pair is the child alone, packed and padded, on rows of which most
are short and some are long.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from app.catalogue.catalogue import CATALOGUE
from app.catalogue.packaged import ensure_model
from app.domain.hyperparameters import Hyperparameters, resolve
from app.settings import Settings
from app.trainer_worker.training.plan import Plan
from benchmarks.bare_loop import run_by_child, run_by_loop
from benchmarks.report import median, table, written

ROWS = Path(__file__).parents[1] / "examples" / "order_mails" / "train.jsonl"
MODEL = CATALOGUE["smollm2-135m-instruct"]
GOAL = 0.98


def main() -> None:
    arguments = argparse.ArgumentParser(description="Training speed against a bare loop.")
    arguments.add_argument("--rows", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=2)
    given = arguments.parse_args()
    some = ROWS.read_bytes().splitlines(keepends=True)[: given.rows]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as name:
        folder = Path(name)

        def compared(what: str, sides: Mapping[str, Callable[[], float]]) -> None:
            found: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(given.rounds):
                for side, tokens_per_second in sides.items():
                    found[side].append(tokens_per_second())
                    print(f"{what}, {side}: {found[side][-1]:.0f} tokens/s", flush=True)
            figures[what] = {side: median(speeds) for side, speeds in found.items()}

        for what, quantised in (("LoRA", False), ("QLoRA", True)):
            plan = planned(folder / what, some, use_quantization=quantised)
            compared(what, {"child": partial(of_the_child, plan), "bare loop": partial(of_the_loop, plan)})
        skewed = of_skewed_length(some)
        sides = {
            side: partial(of_the_child, planned(folder / side, skewed, packing=side == "packed"))
            for side in ("packed", "padded")
        }
        compared("packing", sides)
    ratios = {what: speeds[0] / speeds[1] for what, one in figures.items() if (speeds := list(one.values()))}
    rows = [
        [f"{what}, {side}", f"{speed:.0f}", f"{ratios[what]:.2f} x" if place == 0 else ""]
        for what, one in figures.items()
        for place, (side, speed) in enumerate(one.items())
    ]
    print(table(["", "tokens/s", "of the other"], rows))
    goals = {f"{what}: {GOAL} x the bare loop": ratios[what] >= GOAL for what in ("LoRA", "QLoRA")}
    written("training_overhead", figures | {"ratios": ratios}, goals)


def of_skewed_length(rows: list[bytes]) -> list[bytes]:
    """Every eighth row with an answer of many times the length."""
    made = []
    for place, line in enumerate(rows):
        row = json.loads(line)
        if place % 8 == 0:
            row["messages"][-1]["content"] *= 12
        made.append(json.dumps(row).encode() + b"\n")
    return made


def planned(folder: Path, rows: list[bytes], **asked: Any) -> Path:
    """The file of a plan as the demo's, for these rows."""
    folder.mkdir()
    (some := folder / "rows.jsonl").write_bytes(b"".join(rows))
    usual = {"rank": 16, "epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "max_length": 512}
    hyperparameters = resolve(usual | asked, rows=len(rows), context_length=MODEL.context_length)
    assert isinstance(hyperparameters, Hyperparameters)
    plan = Plan(
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
    (file := folder / "plan.json").write_bytes(msgspec.json.encode(plan))
    return file


def of_the_child(plan: Path) -> float:
    return run_by_child(plan)["tokens_per_second"]


def of_the_loop(plan: Path) -> float:
    return run_by_loop(plan)["tokens_per_second"]


if __name__ == "__main__":
    main()
