"""LoRA and QLoRA of models of 1B and 8B shape with random weights on a GPU, beside a bare loop.

    python -m benchmarks.gpu.training [--shape 1b --shape 8b] [--rows 32] [--length 2048]

Tokens per second, model FLOPs utilisation and peak of memory. MFU counts 6 FLOPs for each weight and token,
as published figures do, although LoRA needs no gradients of the base's weights. `--on cpu --shape tiny` only
shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct
from transformers import LlamaConfig, LlamaForCausalLM

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE
from app.domain.hyperparameters import Hyperparameters, resolve
from app.settings import Settings
from app.trainer_worker.training.plan import Plan
from benchmarks.bare_loop import run_by_child, run_by_loop
from benchmarks.report import table, written

LIKE = CATALOGUE["smollm2-135m-instruct"]  # whose tokenizer it is
OF_TOKENIZER = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
# Dense bf16 FLOPs per second, from the makers' data sheets.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
GOAL = 0.98


class Shape(Struct, frozen=True):
    """A Llama's sizes."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, 49152),
    "1b": Shape(2048, 8192, 16, 32, 8, 128256),
    "8b": Shape(4096, 14336, 32, 32, 8, 128256),
}
# What others publish (facts of the project: torchtune's README, NeMo AutoModel's performance page).
PUBLISHED = [
    ["NeMo AutoModel, Llama3-8B LoRA, one H100, 4096", "12,473", "40.6 %", ""],
    ["torchtune, 8B LoRA, RTX 4090, 2 x 2048, packed, compiled", "3,083", "", "16.2"],
    ["torchtune, 8B QLoRA, RTX 4090", "2,413", "", "7.4"],
]


def main() -> None:
    arguments = argparse.ArgumentParser(description="Training speed on a GPU.")
    arguments.add_argument("--shape", action="append", choices=SHAPES)
    arguments.add_argument("--rows", type=int, default=32)
    arguments.add_argument("--length", type=int, default=2048)
    arguments.add_argument("--batch-size", type=int, default=2)
    arguments.add_argument("--on", choices=("cuda", "cpu"), default="cuda")
    given = arguments.parse_args()
    if given.on == "cuda" and not torch.cuda.is_available():
        print("skipped: there is no GPU here")
        return
    peak = peak_of(torch.cuda.get_device_name()) if given.on == "cuda" else None
    rows: list[list[str]] = []
    figures: dict[str, Any] = {}
    goals: dict[str, bool] = {}
    for name in given.shape or ("1b", "8b"):
        with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
            model, parameters = random_model(Path(folder) / "model", SHAPES[name])
            for what, quantised in (("LoRA", False), ("QLoRA", True)):
                plan = planned(Path(folder) / what, model, given, use_quantization=quantised)
                sides = {"child": run_by_child(plan), "bare loop": run_by_loop(plan)}
                for side, found in sides.items():
                    speed = found["tokens_per_second"]
                    used = f"{6 * parameters * speed / peak:.1%}" if peak else ""
                    rows.append(
                        [
                            f"{name} {what}, {side}",
                            f"{speed:,.0f}",
                            used,
                            f"{found['memory_peak'] / 2**30:.1f}",
                        ]
                    )
                figures[f"{name} {what}"] = sides
                ratio = sides["child"]["tokens_per_second"] / sides["bare loop"]["tokens_per_second"]
                goals[f"{name} {what}: {GOAL} x the bare loop ({ratio:.2f})"] = ratio >= GOAL
    print(table(["", "tokens/s", "MFU", "peak GiB"], rows + PUBLISHED))
    written("gpu_training", figures, goals)


def peak_of(device: str) -> float | None:
    """FLOPs per second that a device can do at best; None where nobody told."""
    return next((peak for name, peak in PEAK.items() if name in device), None)


def random_model(folder: Path, shape: Shape) -> tuple[Path, int]:
    """A folder with a model of random weights in bf16, and how many weights there are."""
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        made: Any = LlamaForCausalLM(config)
        model = made.to(torch.bfloat16)
    parameters = sum(one.numel() for one in model.parameters())
    model.save_pretrained(folder)
    tokenizer = ensure_model(Settings.from_env(os.environ).cache_dir, LIKE, print)
    for name in OF_TOKENIZER:
        shutil.copy(tokenizer / name, folder)
    return folder, parameters


def planned(folder: Path, model: Path, given: argparse.Namespace, **asked: Any) -> Plan:
    """A plan on rows that fill the length."""
    folder.mkdir()
    draw = random.Random(0)
    with (rows := folder / "rows.jsonl").open("w", encoding="utf-8") as out:
        for _ in range(given.rows):
            words = " ".join(str(draw.randrange(1000)) for _ in range(given.length))
            out.write(json.dumps({"text": words}) + "\n")
    usual = {"rank": 16, "epochs": 1, "batch_size": given.batch_size, "max_length": given.length}
    hyperparameters = resolve(usual | asked, rows=given.rows, context_length=8192)
    assert isinstance(hyperparameters, Hyperparameters)
    return Plan(
        job_id="job-benchmark",
        attempt=1,
        seed=7,
        model_id="random",
        model_revision="0",
        model_dir=str(model),
        training_file=str(rows),
        hyperparameters=hyperparameters,
        output_dir=str(folder / "output"),
        device="cuda:0" if given.on == "cuda" else "cpu",
    )


if __name__ == "__main__":
    main()
