"""Tokens per second of a tuning's child process, against the shortest loop over transformers and peft.

    python -m benchmarks.training_overhead [--rows 64] [--rounds 2]

Both train the same rows in the same batches and precision, each in a process of its own, in turns. What the
child does on top (losses for every token, the curve, checks, frames) is paid for by what it saves.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from app.catalogue.catalogue import CATALOGUE
from app.catalogue.packaged import ensure_model
from app.domain.hyperparameters import Hyperparameters, resolve
from app.settings import Settings
from app.trainer_worker.training.plan import Plan
from benchmarks.report import median, table, written

ROWS = Path(__file__).parents[1] / "examples" / "order_mails" / "train.jsonl"
MODEL = CATALOGUE["smollm2-135m-instruct"]


def main() -> None:
    arguments = argparse.ArgumentParser(description="Training speed against a bare loop.")
    arguments.add_argument("--rows", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.bare is not None:
        print(bare(msgspec.json.decode(given.bare.read_bytes(), type=Plan)))
        return
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        plan = Path(folder) / "plan.json"
        plan.write_bytes(msgspec.json.encode(planned(Path(folder), given.rows)))
        for _ in range(given.rounds):
            ours.append(of_the_child(plan))
            theirs.append(of_the_loop(plan))
            print(f"child {ours[-1]:.0f} tokens/s, bare loop {theirs[-1]:.0f} tokens/s", flush=True)
    child, loop = median(ours), median(theirs)
    rows = [["child", f"{child:.0f}"], ["bare loop", f"{loop:.0f}"], ["ratio", f"{child / loop:.2f}"]]
    print(table(["", "tokens/s"], rows))
    written("training_overhead", {"child": child, "bare loop": loop, "ratio": child / loop}, {})


def planned(folder: Path, rows: int) -> Plan:
    """The demo's tuning, of its first rows."""
    some = folder / "rows.jsonl"
    some.write_text(
        "".join(ROWS.read_text(encoding="utf-8").splitlines(keepends=True)[:rows]), encoding="utf-8"
    )
    asked = {"rank": 16, "epochs": 1, "batch_size": 4, "learning_rate": 1e-3}
    hyperparameters = resolve(asked, rows=rows, context_length=MODEL.context_length)
    assert isinstance(hyperparameters, Hyperparameters)
    return Plan(
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


def of_the_child(plan: Path) -> float:
    child = [sys.executable, "-m", "app.trainer_worker.training", "--plan", str(plan), "--device", "cpu"]
    frames = subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()
    [saved] = [frame for frame in map(json.loads, frames) if frame["type"] == "saved"]
    return float(saved["tokens_per_second"])


def of_the_loop(plan: Path) -> float:
    loop = [sys.executable, "-W", "ignore", "-m", "benchmarks.training_overhead", "--bare", str(plan)]
    return float(subprocess.run(loop, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def bare(plan: Plan) -> float:
    """Tokens per second of nothing but the model, its adapter and an optimizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.utils import clip_grad_norm_
    from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

    from app.trainer_worker.training.model import compute_dtype, load_tokenizer
    from app.trainer_worker.training.rows import read_rows
    from app.trainer_worker.training.trainer import collate

    torch.manual_seed(plan.seed)
    hyper = plan.hyperparameters
    tokenizer = load_tokenizer(plan.model_dir)
    file = Path(plan.training_file)
    read = read_rows(file, tokenizer, hyper.max_length, hyper.train_on, plan.method, "training_file")
    rows = [row for (row,) in read]
    base = AutoModelForCausalLM.from_pretrained(plan.model_dir, dtype=compute_dtype("cpu"))
    config = LoraConfig(
        r=hyper.rank, lora_alpha=int(hyper.alpha), target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = get_peft_model(base, config).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=hyper.learning_rate, weight_decay=0.0)
    steps = len(rows) // hyper.batch_size
    schedule = get_cosine_schedule_with_warmup(optimizer, 2, steps)
    together = collate(tokenizer.pad_token_id)
    tokens, began = 0, time.monotonic()
    for step in range(steps):
        some = rows[step * hyper.batch_size : (step + 1) * hyper.batch_size]
        batch = together([{"input_ids": row.input_ids, "labels": row.labels} for row in some])
        model(**batch, use_cache=False).loss.backward()
        clip_grad_norm_(trained, hyper.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += int(batch["attention_mask"].sum())
    return tokens / (time.monotonic() - began)


if __name__ == "__main__":
    main()
