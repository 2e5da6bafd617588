"""The proof that an adapter is worth having: stock PEFT loads it, and it answers as the trained model did."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct
from safetensors import SafetensorError

from app.trainer_worker.training.failures import adapter_unusable
from app.trainer_worker.training.frames import Frame, Phase, Verified
from app.trainer_worker.training.model import load_tuned
from app.trainer_worker.training.plan import Plan

ROWS_COMPARED, TOKENS_READ, TOKENS_COMPARED = 4, 256, 32
LARGEST_DIFFERENCE = 0.05


class Answers(Struct, frozen=True):
    """What the trained model made of the beginnings of a few rows: logits (tokens, vocabulary) of each."""

    plan: Plan
    rows: list[list[int]]
    logits: list[Any]


def answers(model: Any, plan: Plan, rows: list[list[int]]) -> Answers:
    """Keep what the model says to the first rows, one at a time, as its user would ask."""
    rows = [row[:TOKENS_READ] for row in rows[:ROWS_COMPARED]]
    return Answers(plan, rows, logits_of(model, rows))


def verify(trained: Answers, adapter_dir: Path, tell: Callable[[Frame], None]) -> Verified:
    """Load the adapter on a fresh base and compare. Raises `TrainingFault`."""
    tell(Phase("verifying"))
    try:
        model = load_tuned(trained.plan, adapter_dir)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise adapter_unusable("stock PEFT cannot load the stored adapter", error) from error
    found = logits_of(model, trained.rows)
    del model
    gc.collect()
    difference = max(
        float((ours - theirs).abs().max()) for ours, theirs in zip(trained.logits, found, strict=True)
    )
    if not difference <= LARGEST_DIFFERENCE:  # also when it is no number
        raise adapter_unusable(
            f"the stored adapter answers otherwise than the trained model, by {difference:g}"
        )
    return Verified(difference)


def logits_of(model: Any, rows: list[list[int]]) -> list[Any]:
    """What a model says to the last tokens of each row alone: all that a vocabulary makes room for."""
    model.eval()
    with torch.inference_mode():
        return [
            model(input_ids=torch.tensor([row], device=model.device), use_cache=False)
            .logits[0, -TOKENS_COMPARED:]
            .to("cpu", torch.float32, copy=True)  # or it would keep what it is a part of
            for row in rows
        ]
