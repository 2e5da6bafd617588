"""A model that needs no PEFT: the adapter merged into its base in bf16, and proved to answer alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from app.trainer_worker.training.failures import merged_unusable
from app.trainer_worker.training.frames import Frame, Merged, Phase
from app.trainer_worker.training.memory import give_back
from app.trainer_worker.training.model import compute_dtype, load_tokenizer, load_whole
from app.trainer_worker.training.verify import Answers, logits_of

# Weights rounded to bf16 move logits by a hundredth or so; by how much is measured against what the adapter
# does to them, since a merge that did nothing must not pass.
LARGEST_SHARE = 0.25
ROUNDING = 0.1


def merge(trained: Answers, adapter_dir: Path, tell: Callable[[Frame], None]) -> Merged:
    """Merge a stored adapter into the base in bf16, whatever it was trained on. Raises `TrainingFault`.

    Stock transformers load what was written; the mean difference of its logits from those of base and
    adapter is told.
    """
    tell(Phase("exporting"))
    plan, rows = trained.plan, trained.rows
    folder = Path(plan.output_dir) / "merged"
    base = load_whole(plan)
    alone = logits_of(base, rows)
    try:
        model: Any = PeftModel.from_pretrained(base, str(adapter_dir))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise merged_unusable("stock PEFT cannot load the adapter to be merged", error) from error
    wanted = logits_of(model, rows)
    merged = model.merge_and_unload(safe_merge=True).to(torch.bfloat16)
    merged.config.use_cache = True
    merged.save_pretrained(folder)
    load_tokenizer(plan.model_dir).save_pretrained(folder)
    del base, model, merged
    give_back()
    try:
        stock = AutoModelForCausalLM.from_pretrained(
            folder, dtype=compute_dtype("cpu"), local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise merged_unusable("stock transformers cannot load the merged model", error) from error
    difference = _mean_difference(logits_of(stock, rows), wanted)
    if not difference <= max(ROUNDING, LARGEST_SHARE * _mean_difference(alone, wanted)):
        raise merged_unusable(f"the merged model answers otherwise than the adapter, by {difference:g}")
    return Merged(str(folder), difference)


def _mean_difference(ours: list[Any], theirs: list[Any]) -> float:
    apart = [(one - other).abs().flatten() for one, other in zip(ours, theirs, strict=True)]
    return float(torch.cat(apart).mean())
