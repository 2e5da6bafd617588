"""What a run leaves: the adapter as stock PEFT reads it, and a manifest that the run can be repeated from."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from app.catalogue.memory import MemoryEstimate
from app.domain.tunings import WarmStart
from app.trainer_worker.training.examples import Looked
from app.trainer_worker.training.frames import Planned, Saved
from app.trainer_worker.training.plan import Plan

CARD = """---
base_model: {model}
library_name: peft
tags: [lora, tunesmith]
---

# {job}

A {method} adapter for `{model}` (revision `{revision}`), tuned by Tunesmith on {rows}{start}.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("path/of/the/base/model", dtype="auto")
model = PeftModel.from_pretrained(base, "path/of/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/of/the/base/model")
```

## Results

{results}

## Loss

{curve}

## Data

{data}

## Hyperparameters

{hyperparameters}

## Made with

{made_with}

`manifest.json` among the job's result files holds everything that is needed to repeat the run.
"""

CURVE_ROWS = 12


class Run(Struct, frozen=True):
    """A run that has ended well, and where: `hardware` and `versions` by name."""

    plan: Plan
    planned: Planned
    saved: Saved
    looked: Looked
    hardware: Mapping[str, str]
    versions: Mapping[str, str]


def save_adapter(model: Any, folder: Path, plan: Plan) -> None:
    """Write the adapter. Its base is named by the catalogue's id, never by a path of this machine."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = plan.model_id
    model.save_pretrained(folder, save_embedding_layers=False)


def write_card(folder: Path, run: Run, curve: Path) -> None:
    """Write the adapter's README: of the loss as many points as a page has room for."""
    plan, planned, saved = run.plan, run.planned, run.saved
    hyper = plan.hyperparameters
    best = f"{saved.kept_step}, the best of {saved.steps}" if hyper.early_stopping_patience else saved.steps
    results = {
        "train loss": f"{saved.train_loss:.4f}",
        "validation loss": "–" if saved.eval_loss is None else f"{saved.eval_loss:.4f}",
        "steps": best,
        "trained tokens": saved.trained_tokens,
        "seconds": saved.seconds,
        "memory, most at once": f"{saved.memory_peak / 1024**2:.0f} MiB",
    }
    data = {
        f"{name} file": f"{rows} rows, sha256 `{digest}`"
        for name, rows, digest in (
            ("training", planned.train_rows, plan.training_sha256),
            ("validation", planned.validation_rows, plan.validation_sha256),
        )
        if rows
    }
    card = CARD.format(
        job=plan.job_id,
        model=plan.model_id,
        revision=plan.model_revision,
        method="QLoRA" if plan.adapter == "qlora" else "LoRA",
        rows=f"{planned.train_rows} {'preference pairs' if plan.method == 'dpo' else 'rows'}",
        start=f", going on from `{plan.warm_start.model}`" if plan.warm_start else "",
        results=_table(results),
        curve=_curve(curve),
        data=_table(data | {"labels": f"sha256 `{planned.labels_hash}`"}),
        hyperparameters=_table(msgspec.to_builtins(hyper) | {"method": plan.method, "seed": plan.seed}),
        made_with=_table({**run.hardware, **_surroundings(), **run.versions}),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def write_manifest(path: Path, run: Run) -> None:
    """Write what the run was made of and how it ended; no paths, so that it means the same anywhere."""
    plan, planned, saved = run.plan, run.planned, run.saved
    manifest = {
        "job_id": plan.job_id,
        "attempt": plan.attempt,
        "model": {"id": plan.model_id, "revision": plan.model_revision},
        "warm_start": _start(plan.warm_start),
        "method": plan.method,
        "adapter": plan.adapter,
        "seed": plan.seed,
        "processes": plan.processes,
        "hyperparameters": plan.hyperparameters,
        "reduction": plan.reduction,
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
        "examples": run.looked,
        "memory": {"estimated": _parts(plan.memory), "peak": saved.memory_peak},
        "memory_peak": saved.memory_peak,
        "hardware": {**run.hardware, **_surroundings()},
        "versions": dict(run.versions),
    }
    path.write_text(json.dumps(msgspec.to_builtins(manifest), indent=2) + "\n", encoding="utf-8")


def _parts(memory: MemoryEstimate | None) -> dict[str, int] | None:
    return {**msgspec.to_builtins(memory), "total": memory.total} if memory is not None else None


def _surroundings() -> dict[str, str]:
    return {"machine": platform.machine(), "python": platform.python_version()}


def _table(cells: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in cells.items())])


def _curve(path: Path) -> str:
    """Steps at equal distances, the first and the last among them, and the loss of the validation rows."""
    told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    evaluated = {one["step"]: one["eval_loss"] for one in told if one.get("eval_loss") is not None}
    steps = [one for one in told if one["type"] == "step"]
    last = len(steps) - 1
    places = sorted({round(last * number / (CURVE_ROWS - 1)) for number in range(CURVE_ROWS)})
    shown = [steps[place] for place in places]
    rows = [
        f"| {one['step']} | {one['loss']:.4f} | "
        + (f"{evaluated[one['step']]:.4f} |" if one["step"] in evaluated else "|")
        for one in shown
    ]
    return "\n".join(["| step | loss | validation loss |", "|---|---|---|", *rows])


def _start(warm: WarmStart | None) -> dict[str, Any] | None:
    """The model that training went on from, with the digests of its files."""
    if warm is None:
        return None
    return {"model": warm.model, "files": {file.name: file.sha256 for file in warm.files}}
