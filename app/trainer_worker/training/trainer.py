"""TRL's trainer on ready-made rows, and how rows become a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import Trainer
from trl import SFTTrainer

from app.datasets.tokenise import IGNORED


class RowTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer without its entropy and accuracy per batch, which cost a pass over the logits each."""

    tokens = 0
    trained_tokens = 0

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training:
            self.tokens += int(inputs["attention_mask"].sum())
            self.trained_tokens += int((inputs["labels"] != IGNORED).sum())
        return Trainer.compute_loss(self, model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        Trainer.log(self, logs, start_time)


def collate(pad: int) -> Callable[[list[dict[str, list[int]]]], dict[str, torch.Tensor]]:
    """Rows padded on the right to the longest of the batch; padding is neither seen nor trained."""

    def collated(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([row[name] + [filler] * (longest - len(row[name])) for row in rows])

        mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        return {
            "input_ids": padded("input_ids", pad),
            "labels": padded("labels", IGNORED),
            "attention_mask": torch.tensor(mask),
        }

    return collated
