"""Rows a second that the check of a file gets through, beside bare tokenisation of the same rows.

    python -m benchmarks.check_rate [--rows 10000] [--rounds 3]

Bare tokenisation is the model's own tokenizer, as the `tokenizers` library has it, over the text of each
message, on one thread: the least that anything would do that looks at every token. The check reads the file,
decodes and judges every row, counts, and keeps digests; it runs in a process of its own, as at upload, but
the time that its interpreter takes to start is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE
from app.settings import Settings
from benchmarks.report import median, table, written

GOAL = 0.8
SOURCE = Path(__file__).parents[1] / "examples" / "order_mails" / "train.jsonl"
MODEL = CATALOGUE["smollm2-135m-instruct"]


def main() -> None:
    arguments = argparse.ArgumentParser(description="Speed of the check beside bare tokenisation.")
    arguments.add_argument("--rows", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--tokenise", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.tokenise is not None:
        print(tokenised(given.tokenise))
        return
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        files = {kind: Path(folder) / f"{kind}.jsonl" for kind in ("chat", "tools")}
        for kind, file in files.items():
            write(file, kind, given.rows)
        empty = Path(folder) / "empty.jsonl"
        empty.write_bytes(b"")
        for _ in range(given.rounds):
            start = seconds_of_check(empty)
            for kind, file in files.items():
                whole = seconds_of_check(file)
                rates.setdefault(f"{kind}: check", []).append(given.rows / (whole - start))
                rates.setdefault(f"{kind}: check, start included", []).append(given.rows / whole)
                rates.setdefault(f"{kind}: bare tokenisation", []).append(
                    given.rows / seconds_of_tokens(file)
                )
    told(rates)


def write(file: Path, kind: str, rows: int) -> None:
    """The example's mails, each made one of its own; with tools, half of them also make a call."""
    rng = random.Random(7)
    mails = [json.loads(line) for line in SOURCE.read_text(encoding="utf-8").splitlines()]
    with file.open("w", encoding="utf-8") as out:
        for number in range(rows):
            row = json.loads(json.dumps(rng.choice(mails)))
            row["messages"][-2]["content"] += f" (mail {number})"
            if kind == "tools":
                row = with_call(row, number)
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def with_call(row: dict[str, Any], number: int) -> dict[str, Any]:
    *asked, answer = row["messages"]
    schema = {"type": "object", "properties": {"mail": {"type": "integer"}}}
    tool = {"type": "function", "function": {"name": "look_up", "parameters": schema}}
    function = {"name": "look_up", "arguments": json.dumps({"mail": number})}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    found = {"role": "tool", "tool_call_id": call["id"], "content": f"mail {number} is new"}
    calling = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"messages": [*asked, calling, found, answer], "tools": [tool]}


def seconds_of_check(file: Path) -> float:
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "app.datasets.check", str(file), folder], check=True, capture_output=True
        )
        took = time.perf_counter() - began
    report = json.loads(done.stdout)
    if file.stat().st_size and report["fault_count"]:
        raise RuntimeError(f"the rows are not sound: {report['faults'][:3]}")
    return took


def seconds_of_tokens(file: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.check_rate", "--tokenise", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ONE_THREAD)
    return float(done.stdout)


ONE_THREAD = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}


def tokenised(file: Path) -> float:
    """Seconds for nothing but tokenising the messages of a file that is decoded already."""
    model = ensure_model(Settings.from_env(os.environ).cache_dir, MODEL, lambda _: None)
    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    rows = [
        [message["content"] or "" for message in json.loads(line)["messages"]]
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    began = time.perf_counter()
    for texts in rows:
        tokenizer.encode_batch(texts, add_special_tokens=False)
    return time.perf_counter() - began


def told(rates: dict[str, list[float]]) -> None:
    """Print and write medians over the rounds, and the goals."""
    figures: dict[str, Any] = {}
    goals: dict[str, bool] = {}
    rows: list[list[str]] = []
    for name, found in rates.items():
        bare = rates[f"{name.partition(':')[0]}: bare tokenisation"]
        ratio = median([one / other for one, other in zip(found, bare, strict=True)])
        figures[name] = {"rows_per_second": median(found), "ratio": ratio}
        rows.append([name, f"{median(found):,.0f}", f"{ratio:.2f}"])
        if name.endswith("check"):
            goals[f"{name}: {GOAL} x bare tokenisation"] = ratio >= GOAL
    print(table(["", "rows/s", "x bare"], rows))
    written("check_rate", figures, goals)


if __name__ == "__main__":
    main()
