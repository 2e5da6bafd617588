"""A plan carried out by nothing but a model, its adapter and an optimizer: what a child is measured against.

    python -m benchmarks.bare_loop PLAN

prints tokens per second and the peak of memory in bytes, as JSON. In a process of its own, as the child is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.trainer_worker.training.plan import Plan


def run_by_child(plan: Plan) -> dict[str, float]:
    """What a tuning's child makes of a plan: its last frame of figures."""
    device = plan.device.partition(":")[0]
    with _file_of(plan) as file:
        child = [sys.executable, "-m", "app.trainer_worker.training", "--plan", file, "--device", device]
        frames = subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()
    [saved] = [frame for frame in map(json.loads, frames) if frame["type"] == "saved"]
    return {name: float(saved[name]) for name in ("tokens_per_second", "memory_peak")}


def run_by_loop(plan: Plan) -> dict[str, float]:
    """The same of the bare loop."""
    with _file_of(plan) as file:
        loop = [sys.executable, "-W", "ignore", "-m", "benchmarks.bare_loop", file]
        said = subprocess.run(loop, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    return dict(json.loads(said))


@contextmanager
def _file_of(plan: Plan) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(msgspec.json.encode(plan))
        file.flush()
        yield file.name


def bare(plan: Plan) -> dict[str, float]:
    """Train, in this process."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.utils import clip_grad_norm_
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, get_cosine_schedule_with_warmup

    from app.trainer_worker.training.memory import memory_peak
    from app.trainer_worker.training.model import compute_dtype, load_tokenizer
    from app.trainer_worker.training.rows import read_rows
    from app.trainer_worker.training.trainer import collate

    torch.manual_seed(plan.seed)
    hyper, dtype = plan.hyperparameters, compute_dtype(plan.device)
    tokenizer = load_tokenizer(plan.model_dir)
    file = Path(plan.training_file)
    read = read_rows(file, tokenizer, hyper.max_length, hyper.train_on, plan.method, "training_file")
    rows = [side for row in read for side in row.sides]
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": plan.device}}
    if hyper.use_quantization:
        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    base = AutoModelForCausalLM.from_pretrained(plan.model_dir, **options)
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
        tokens += int(batch["attention_mask"].sum())
        batch = {name: one.to(plan.device) for name, one in batch.items()}
        with torch.autocast("cuda", dtype, enabled=plan.device != "cpu"):
            loss = model(**batch, use_cache=False).loss
        loss.backward()
        clip_grad_norm_(trained, hyper.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    if plan.device != "cpu":
        torch.cuda.synchronize()
    return {"tokens_per_second": tokens / (time.monotonic() - began), "memory_peak": float(memory_peak())}


if __name__ == "__main__":
    print(json.dumps(bare(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan))))
