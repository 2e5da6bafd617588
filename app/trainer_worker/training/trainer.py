"""TRL's trainer on ready-made rows, and how rows become a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from trl import SFTConfig, SFTTrainer

from app.datasets.tokenise import IGNORED
from app.trainer_worker.training.head import has_plain_head, score_trained_positions
from app.trainer_worker.training.model import compute_dtype
from app.trainer_worker.training.plan import Plan


class Sums:
    """Losses summed over trained tokens, and how many these were."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.tokens = 0

    def take(self) -> tuple[float, int]:
        """The mean loss per token and the number of tokens since the last time."""
        mean = self.loss / self.tokens if self.tokens else float("nan")
        taken = (mean, self.tokens)
        self.loss, self.tokens = 0.0, 0
        return taken


class RowTrainer(SFTTrainer):
    """SFTTrainer with a loss that is normalised over the trained tokens of the whole optimizer step.

    `read_tokens` and `trained_tokens` count what went through in training so far; `training_sums` and
    `evaluation_sums` are for whoever reports losses. TRL's own loss also computes entropy and accuracy at
    every position, which a CPU is long at.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.read_tokens = 0
        self.trained_tokens = 0
        self.training_sums = Sums()
        self.evaluation_sums = Sums()
        base: Any = options["model"].get_base_model()
        self._trained_only = has_plain_head(base)
        if self._trained_only:
            score_trained_positions(base)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Loss of a batch; in training divided by the labels of all batches of the step."""
        labels = inputs["labels"]
        mask = inputs["attention_mask"]
        trained = int((labels[:, 1:] != IGNORED).sum())
        # Of packed rows the positions tell where one begins, and are heeded only where there is no mask.
        apart = {name: inputs[name] for name in ("position_ids",) if name in inputs}
        if self._trained_only:
            outputs = model(input_ids=inputs["input_ids"], labels=labels, trained_only=True, **apart)
            summed = outputs.loss
        else:
            seen = apart or {"attention_mask": mask}
            outputs = model(input_ids=inputs["input_ids"], use_cache=False, **seen)
            summed = torch.nn.functional.cross_entropy(
                outputs.logits[:, :-1].flatten(0, 1).float(),
                labels[:, 1:].flatten(),
                ignore_index=IGNORED,
                reduction="sum",
            )
        sums = self.training_sums if model.training else self.evaluation_sums
        sums.loss += float(summed.detach())
        sums.tokens += trained
        if model.training:
            self.read_tokens += int(mask.sum())
            self.trained_tokens += trained
        loss = summed / (trained if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        Trainer.log(self, logs, start_time)


def configuration(plan: Plan, total_steps: int) -> SFTConfig:
    """The plan in TRL's words."""
    hyper = plan.hyperparameters
    cpu = plan.device == "cpu"
    return SFTConfig(
        output_dir=str(Path(plan.output_dir) / "trainer"),
        num_train_epochs=hyper.epochs,
        max_steps=hyper.max_steps or -1,
        per_device_train_batch_size=plan.rows_at_a_time,
        per_device_eval_batch_size=plan.rows_at_a_time,
        gradient_accumulation_steps=hyper.gradient_accumulation,
        learning_rate=hyper.learning_rate,
        lr_scheduler_type=hyper.scheduler if hyper.scheduler != "constant" else "constant_with_warmup",
        warmup_steps=warmup_steps(total_steps, hyper.warmup_ratio),
        weight_decay=hyper.weight_decay,
        max_grad_norm=hyper.max_grad_norm,
        optim="adamw_torch",
        seed=plan.seed % 2**32,
        use_cpu=cpu,
        bf16=compute_dtype(plan.device) is torch.bfloat16,
        gradient_checkpointing=False,
        logging_steps=plan.logging_steps,
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if plan.validation_file else "no",
        prediction_loss_only=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=not cpu,
        remove_unused_columns=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def warmup_steps(total_steps: int, ratio: float) -> int:
    """Steps over which the learning rate rises; none only for a ratio of 0."""
    return -int(-total_steps * ratio // 1)


def collate(pad: int) -> Callable[[list[dict[str, list[int]]]], dict[str, torch.Tensor]]:
    """Rows padded on the right to the longest of the batch; padding is neither seen nor trained."""

    def collated(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([row[name] + [filler] * (longest - len(row[name])) for row in rows])

        mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        batch = {
            "input_ids": padded("input_ids", pad),
            "labels": padded("labels", IGNORED),
            "attention_mask": torch.tensor(mask),
        }
        if "position_ids" in rows[0]:
            batch["position_ids"] = padded("position_ids", 0)
        return batch

    return collated
