"""The estimate of a tuning's memory against the most that its child process held.

    python -m benchmarks.memory [--cases 12]

Each case is a child of its own: two steps of the packaged model, or of a few wide layers with random weights,
with rows of exactly the length that is estimated for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE, Entry, Folder
from app.catalogue.memory import estimate
from app.domain.hyperparameters import Hyperparameters, resolve
from app.settings import Settings
from app.trainer_worker.training.plan import Plan
from benchmarks.report import table, written

SMALL = CATALOGUE["smollm2-135m-instruct"]
WITHIN = 0.15
SIZES = {"layers": 4, "hidden_size": 1024, "intermediate_size": 4096, "heads": 16, "key_value_heads": 4}
OF_TOKENIZER = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
WORDS = "the order of seven green chairs and one long table shall come by friday to the house".split()

# The most telling ones first: model, tokens a row, rows, and what else is asked for.
CASES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("small", 256, 4, {}),
    ("small", 256, 4, {"use_quantization": True}),
    ("wide", 256, 4, {"use_dora": True}),
    ("wide", 256, 4, {"use_quantization": True}),
    ("small", 128, 4, {"method": "dpo"}),
    ("small", 64, 4, {}),
    ("small", 128, 8, {"rank": 64}),
    ("small", 256, 4, {"packing": True}),
    ("small", 1024, 1, {}),
    ("wide", 512, 8, {}),
    ("small", 128, 4, {"use_dora": True, "use_quantization": True}),
    ("small", 512, 4, {}),
]


def main() -> None:
    arguments = argparse.ArgumentParser(description="The estimate of memory against the peak.")
    arguments.add_argument("--cases", type=int, default=len(CASES))
    given = arguments.parse_args()
    rows, shares = [], []
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as name:
        folder = Path(name)
        like = ensure_model(Settings.from_env(os.environ).cache_dir, SMALL, print)
        models = {"small": replace(SMALL, source=Folder(str(like))), "wide": wide(folder / "wide", like)}
        for model, length, batch, asked in CASES[: given.cases]:
            plan = planned(folder, models[model], length, batch, asked)
            told = estimate(models[model], plan.hyperparameters, method=plan.method, longest_row=length)
            peak = peak_of(plan, folder)
            shares.append(told.total / peak)
            what = " ".join(
                [model, f"{batch} × {length}", *(f"{key}={value}" for key, value in asked.items())]
            )
            rows.append([what, f"{told.total >> 20}", f"{peak >> 20}", f"{shares[-1]:.2f}"])
            print(f"{what}: {shares[-1]:.2f}", flush=True)
    print(table(["", "estimate, MiB", "peak, MiB", "ratio"], rows))
    furthest = max(shares, key=lambda share: abs(share - 1))
    goals = {f"every estimate within {WITHIN:.0%} of the peak": abs(furthest - 1) <= WITHIN}
    written(
        "memory",
        {"ratios": dict(zip((row[0] for row in rows), shares, strict=True)), "furthest": furthest},
        goals,
    )


def planned(folder: Path, model: Entry, length: int, batch: int, asked: dict[str, Any]) -> Plan:
    """Two steps on rows that are all longer than `length`, and cut to it."""
    text = " ".join(WORDS[at % len(WORDS)] for at in range(2 * length))
    asked = {"max_length": length, "batch_size": batch, "max_steps": 2} | asked
    method = asked.pop("method", "supervised")
    [ask, answer, other] = (
        {"role": role, "content": content}
        for role, content in (("user", "Well?"), ("assistant", text), ("assistant", text[8:]))
    )
    row = (
        {"prompt": [ask], "chosen": [answer], "rejected": [other]}
        if method == "dpo"
        else {"messages": [ask, answer]}
    )
    (folder / "rows.jsonl").write_text((json.dumps(row) + "\n") * 2 * batch, encoding="utf-8")
    hyper = resolve(asked, rows=2 * batch, context_length=model.context_length, method=method)
    assert isinstance(hyper, Hyperparameters), hyper
    assert isinstance(model.source, Folder)
    return Plan(
        job_id="job-benchmark",
        attempt=1,
        seed=7,
        model_id=model.id,
        model_revision=model.revision,
        model_dir=model.source.path,
        training_file=str(folder / "rows.jsonl"),
        hyperparameters=hyper,
        method=method,
        examples=0,
        output_dir=str(folder / "output"),
    )


def peak_of(plan: Plan, folder: Path) -> int:
    """The most that a child held which carried the plan out."""
    path = folder / "plan.json"
    path.write_bytes(msgspec.json.encode(plan))
    child = [sys.executable, "-m", "app.trainer_worker.training", "--plan", str(path), "--device", "cpu"]
    frames = subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()
    [saved] = [frame for frame in map(json.loads, frames) if frame["type"] == "saved"]
    return int(saved["memory_peak"])


def wide(folder: Path, like: Path) -> Entry:
    """A model of a few wide layers with random weights, and the packaged model's tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(like)
    config.num_hidden_layers, config.hidden_size = SIZES["layers"], SIZES["hidden_size"]
    config.intermediate_size, config.num_attention_heads = SIZES["intermediate_size"], SIZES["heads"]
    config.num_key_value_heads, config.head_dim = SIZES["key_value_heads"], 64
    torch.manual_seed(0)
    making: Any = AutoModelForCausalLM
    model = making.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for name in OF_TOKENIZER:
        (folder / name).write_bytes((like / name).read_bytes())
    parameters = sum(one.numel() for one in model.parameters())
    return replace(SMALL, id="wide", source=Folder(str(folder)), parameters=parameters, **SIZES)


if __name__ == "__main__":
    main()
