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
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from app.trainer_worker.training.plan import Plan
from benchmarks.bare_loop import run_by_child, run_by_loop
from benchmarks.plans import order_mails, planned
from benchmarks.report import median, table, written

GOAL = 0.98


def main() -> None:
    arguments = argparse.ArgumentParser(description="Training speed against a bare loop.")
    arguments.add_argument("--rows", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=2)
    given = arguments.parse_args()
    some = order_mails(given.rows)
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


def of_the_child(plan: Plan) -> float:
    return run_by_child(plan)["tokens_per_second"]


def of_the_loop(plan: Plan) -> float:
    return run_by_loop(plan)["tokens_per_second"]


if __name__ == "__main__":
    main()
