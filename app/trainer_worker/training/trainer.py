"""TRL's trainer on ready-made rows, and how rows become a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from accelerate import skip_first_batches
from transformers import Trainer
from transformers.modeling_outputs import CausalLMOutput
from trl import SFTConfig, SFTTrainer

from app.datasets.tokenise import IGNORED
from app.trainer_worker.training.dealing import Filled, dealt
from app.trainer_worker.training.head import has_plain_head, score_trained_positions
from app.trainer_worker.training.model import compute_dtype
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.together import ALONE, Together
from app.trainer_worker.training.tracking import report_to, shield
from app.trainer_worker.training.weights import Weights, as_it_was


class Sums:
    """A process's losses summed over trained tokens, or over pairs, and how many these were."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.count = 0

    def take(self, together: Together) -> tuple[float, int]:
        """The mean loss and the number of tokens or pairs since the last time, of all processes."""
        loss, count = together.summed(self.loss, self.count)
        taken = (loss / count if count else float("nan"), int(count))
        self.loss, self.count = 0.0, 0
        return taken


class Points(Protocol):
    """What is told of the points between two steps at which a run can be left."""

    def before_evaluation(self) -> None: ...

    def between_steps(self) -> None: ...

    def begin_again(self) -> None: ...


class RowTrainer(SFTTrainer):
    """SFTTrainer with a loss that is normalised over the trained tokens of the whole optimizer step.

    `read_tokens` and `trained_tokens` count what went through in training so far; `training_sums` and
    `evaluation_sums` are for whoever reports losses. Each is this process's part of it. TRL's own loss also
    computes entropy and accuracy at every position, which a CPU is long at.
    """

    def __init__(self, *, together: Together = ALONE, **options: Any) -> None:
        self.together = together
        super().__init__(**options)
        shield(self)
        self.read_tokens = 0
        self.trained_tokens = 0
        self.training_sums = Sums()
        self.evaluation_sums = Sums()
        self.points: Points | None = None
        self.evaluated = 0  # batches of the evaluation under way
        base: Any = options["model"].get_base_model()
        self._trained_only = has_plain_head(base)
        if self._trained_only:
            score_trained_positions(base)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Loss of a batch; in training divided by the labels, or pairs, of all batches of the step."""
        summed, count = self._objective(model, inputs)
        sums = self.training_sums if model.training else self.evaluation_sums
        sums.loss += float(summed.detach())
        sums.count += count
        if model.training:
            self.read_tokens += int(inputs["attention_mask"][_real(inputs)].sum())
            self.trained_tokens += _trained(inputs)
        if num_items_in_batch is None:
            loss = summed / max(count, 1)
        else:  # of all processes, over which the gradients are averaged
            loss = summed / num_items_in_batch * self.together.size
        return (loss, CausalLMOutput(loss=loss)) if return_outputs else loss

    def _objective(self, model: Any, inputs: Any) -> tuple[torch.Tensor, int]:
        """What is to become less, summed, and over how many."""
        return self.row_losses(model, inputs).sum(), _trained(inputs)

    def row_losses(self, model: Any, inputs: Any) -> torch.Tensor:
        """What each row or pair adds to that."""
        return self._losses(model, inputs)

    def _losses(self, model: Any, inputs: Any) -> torch.Tensor:
        """Each sequence's loss, summed over its labels."""
        labels = inputs["labels"]
        # Of packed rows the positions tell where one begins, and are heeded only where there is no mask.
        apart = {name: inputs[name] for name in ("position_ids",) if name in inputs}
        if self._trained_only:
            scored = model(input_ids=inputs["input_ids"], labels=labels, trained_only=True, **apart)
            return cast(torch.Tensor, scored.loss)
        seen = apart or {"attention_mask": inputs["attention_mask"]}
        logits = model(input_ids=inputs["input_ids"], use_cache=False, **seen).logits[:, :-1]
        return torch.nn.functional.cross_entropy(
            logits.transpose(1, 2).float(), labels[:, 1:], ignore_index=IGNORED, reduction="none"
        ).sum(-1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        Trainer.log(self, logs, start_time)

    def _get_dataloader(self, dataset: Any, *args: Any, **options: Any) -> Any:
        if self.together.size == 1:
            return super()._get_dataloader(dataset, *args, **options)
        return dealt(super()._get_dataloader(Filled(dataset), *args, **options), self.together.size)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        loader = super().get_eval_dataloader(eval_dataset)
        return skip_first_batches(loader, self.evaluated) if self.evaluated else loader

    def _evaluate(self, *args: Any, **options: Any) -> Any:
        if self.points is not None:
            self.points.before_evaluation()
        metrics = super()._evaluate(*args, **options)
        self.evaluated = 0
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.points is not None:
            self.points.between_steps()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The weights are there already, in the types that they had."""

    def _load_rng_state(self, checkpoint: Any) -> None:
        if self.points is not None and checkpoint is not None:
            self.points.begin_again()


class PairTrainer(RowTrainer):
    """Direct preference optimisation: the better answers are to gain on the worse ones.

    Each side's gain is measured against the model as it was before the first step, `reference`: the base, or
    the base with the adapter that training goes on from. Losses are means over pairs.
    """

    def __init__(self, *, beta: float, reference: Weights, **options: Any) -> None:
        super().__init__(**options)
        self._beta = beta
        self._reference = {name: one.to(self.args.device) for name, one in reference.items()}

    def _objective(self, model: Any, inputs: Any) -> tuple[torch.Tensor, int]:
        losses = self.row_losses(model, inputs)[_real(inputs).chunk(2)[0]]
        return losses.sum(), len(losses)

    def row_losses(self, model: Any, inputs: Any) -> torch.Tensor:
        losses = self._losses(model, inputs)
        with torch.no_grad(), as_it_was(self.accelerator.unwrap_model(model), self._reference):
            before = self._losses(model, inputs)
        better, worse = (before - losses).chunk(2)
        return -torch.nn.functional.logsigmoid(self._beta * (better - worse))

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> int:
        own = sum(int(_real(batch).sum()) for batch in batch_samples) // 2
        return int(self.together.summed(own)[0])


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
        gradient_accumulation_steps=plan.gradient_accumulation,
        learning_rate=hyper.learning_rate,
        lr_scheduler_type=hyper.scheduler if hyper.scheduler != "constant" else "constant_with_warmup",
        warmup_steps=warmup_steps(total_steps, hyper.warmup_ratio),
        weight_decay=hyper.weight_decay,
        max_grad_norm=hyper.max_grad_norm,
        optim="adamw_torch",
        seed=plan.seed % 2**32,
        data_seed=plan.seed % 2**32,  # the same order in every process
        use_cpu=cpu,
        bf16=compute_dtype(plan.device) is torch.bfloat16,
        gradient_checkpointing=plan.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        logging_steps=plan.logging_steps,
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if plan.validation_file else "no",
        prediction_loss_only=True,
        save_strategy="no",
        report_to=report_to(plan.job_id),
        run_name=plan.job_id,
        disable_tqdm=True,
        dataloader_pin_memory=not cpu,
        remove_unused_columns=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
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


def collate_pairs(pad: int) -> Callable[[list[dict[str, list[int]]]], dict[str, torch.Tensor]]:
    """Pairs as one batch: all the better sides, then all the worse ones."""
    collated = collate(pad)

    def both(pairs: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        worse = [{"input_ids": pair["rejected_ids"], "labels": pair["rejected_labels"]} for pair in pairs]
        return collated([*pairs, *worse])

    return both


def _trained(inputs: Any) -> int:
    return int((inputs["labels"][:, 1:] != IGNORED).sum())


def _real(inputs: Any) -> torch.Tensor:
    """Which rows of a batch are no fillers."""
    return cast(torch.Tensor, (inputs["labels"] != IGNORED).any(-1))
