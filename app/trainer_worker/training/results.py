"""What a run leaves: the adapter as stock PEFT reads it, and a manifest that the run can be repeated from."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.domain.tunings import WarmStart
from app.trainer_worker.training.frames import Planned, Saved
from app.trainer_worker.training.plan import Plan

CARD = """---
base_model: {model}
library_name: peft
tags: [lora, tunesmith]
---

# {job}

A {method} adapter for `{model}` (revision `{revision}`), tuned by Tunesmith on {rows}{start}.

| | |
|---|---|
| train loss | {train_loss:.4f} |
| validation loss | {eval_loss} |
| steps | {steps} |
| rank, alpha | {rank}, {alpha:g} |
| epochs, batch size, learning rate | {epochs}, {batch_size}, {learning_rate:g} |
| seed | {seed} |

```python
from peft import PeftModel
model = PeftModel.from_pretrained(base_model, "path/of/this/folder")
```

`manifest.json` among the job's result files holds everything that is needed to repeat the run.
"""


def save_adapter(model: Any, folder: Path, plan: Plan) -> None:
    """Write the adapter. Its base is named by the catalogue's id, never by a path of this machine."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = plan.model_id
    model.save_pretrained(folder, save_embedding_layers=False)


def write_card(folder: Path, plan: Plan, planned: Planned, saved: Saved) -> None:
    """Write the adapter's README."""
    hyper = plan.hyperparameters
    card = CARD.format(
        job=plan.job_id,
        model=plan.model_id,
        revision=plan.model_revision,
        method="QLoRA" if plan.adapter == "qlora" else "LoRA",
        rows=f"{planned.train_rows} {'preference pairs' if plan.method == 'dpo' else 'rows'}",
        start=f", going on from `{plan.warm_start.model}`" if plan.warm_start else "",
        train_loss=saved.train_loss,
        eval_loss="–" if saved.eval_loss is None else f"{saved.eval_loss:.4f}",
        steps=f"{saved.kept_step}, the best of {saved.steps}"
        if hyper.early_stopping_patience
        else saved.steps,
        rank=hyper.rank,
        alpha=hyper.alpha,
        epochs=hyper.epochs,
        batch_size=hyper.batch_size,
        learning_rate=hyper.learning_rate,
        seed=plan.seed,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def write_manifest(
    path: Path,
    plan: Plan,
    planned: Planned,
    saved: Saved,
    hardware: Mapping[str, str],
    versions: Mapping[str, str],
) -> None:
    """Write what the run was made of and how it ended; no paths, so that it means the same anywhere."""
    manifest = {
        "job_id": plan.job_id,
        "attempt": plan.attempt,
        "model": {"id": plan.model_id, "revision": plan.model_revision},
        "warm_start": _start(plan.warm_start),
        "method": plan.method,
        "adapter": plan.adapter,
        "seed": plan.seed,
        "hyperparameters": plan.hyperparameters,
        "training_file": {"sha256": plan.training_sha256, "rows": planned.train_rows},
        "validation_file": (
            {"sha256": plan.validation_sha256, "rows": planned.validation_rows}
            if plan.validation_file
            else None
        ),
        "labels_sha256": planned.labels_hash,
        "sequences": planned.sequences,
        "tokens_per_epoch": planned.tokens_per_epoch,
        "trainable_tokens": planned.trainable_tokens,
        "cut_tokens": planned.cut_tokens,
        "trainable_parameters": planned.trainable_parameters,
        "steps": saved.steps,
        "kept_step": saved.kept_step,
        "train_loss": saved.train_loss,
        "eval_loss": saved.eval_loss,
        "trained_tokens": saved.trained_tokens,
        "seconds": saved.seconds,
        "tokens_per_second": saved.tokens_per_second,
        "memory_peak": saved.memory_peak,
        "hardware": {**hardware, "machine": platform.machine(), "python": platform.python_version()},
        "versions": dict(versions),
    }
    path.write_text(json.dumps(msgspec.to_builtins(manifest), indent=2) + "\n", encoding="utf-8")


def _start(warm: WarmStart | None) -> dict[str, Any] | None:
    """The model that training went on from, with the digests of its files."""
    if warm is None:
        return None
    return {"model": warm.model, "files": {file.name: file.sha256 for file in warm.files}}
