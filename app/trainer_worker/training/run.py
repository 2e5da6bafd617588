"""One attempt: load, tokenise, train by TRL's SFTTrainer with PEFT, save."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from pathlib import Path

import torch
from msgspec.structs import replace
from transformers import set_seed

from app.datasets.tokenise import labels_hash
from app.trainer_worker.training.failures import labels_changed
from app.trainer_worker.training.frames import Frame, Phase, Planned, Saved
from app.trainer_worker.training.model import (
    compute_dtype,
    load_base,
    load_tokenizer,
    memory_peak,
    ready,
    with_adapter,
)
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.progress import Progress
from app.trainer_worker.training.results import save_adapter, write_card, write_manifest
from app.trainer_worker.training.rows import as_dataset, read_rows
from app.trainer_worker.training.trainer import RowTrainer, collate, configuration, keep_adapter_exact
from app.trainer_worker.training.verify import Answers, answers

Tell = Callable[[Frame], None]


def train(plan: Plan, tell: Tell) -> Answers:
    """Carry out a plan, telling how it goes. Raises whatever went wrong."""
    tell(Phase("loading"))
    hyper = plan.hyperparameters
    tokenizer = load_tokenizer(plan.model_dir)
    training = read_rows(Path(plan.training_file), tokenizer, hyper.max_length, "training_file")
    validation = (
        read_rows(Path(plan.validation_file), tokenizer, hyper.max_length, "validation_file")
        if plan.validation_file
        else []
    )
    hashed = labels_hash(training)
    if plan.labels_hash is not None and plan.labels_hash != hashed:
        raise labels_changed(plan.labels_hash, hashed)
    base = load_base(plan)
    set_seed(plan.seed % 2**32)  # before the adapter's weights are drawn
    model = with_adapter(base, plan)
    results = Path(plan.output_dir) / "results"
    results.mkdir(parents=True, exist_ok=True)
    steps_per_epoch = math.ceil(math.ceil(len(training) / plan.rows_at_a_time) / plan.gradient_accumulation)
    trainer = RowTrainer(
        model=model,
        args=configuration(plan, steps_per_epoch * hyper.epochs),
        train_dataset=as_dataset(training),
        eval_dataset=as_dataset(validation) if validation else None,
        data_collator=collate(tokenizer.pad_token_id),
        processing_class=tokenizer,
    )
    keep_adapter_exact(model)
    progress = Progress(tell, results / "metrics.jsonl", steps_per_epoch, memory_peak)
    progress.follow(trainer)
    planned = Planned(
        total_steps=steps_per_epoch * hyper.epochs,
        train_rows=len(training),
        validation_rows=len(validation),
        tokens_per_epoch=sum(len(row.input_ids) for row in training),
        trainable_tokens=sum(row.trainable for row in training),
        cut_tokens=sum(row.cut for row in training),
        labels_hash=hashed,
        total_epochs=hyper.epochs,
        effective_batch_size=hyper.batch_size,
        trainable_parameters=sum(one.numel() for one in model.parameters() if one.requires_grad),
    )
    tell(planned)
    tell(Phase("training"))
    trainer.train()
    progress.close()
    tell(Phase("saving"))
    adapter = Path(plan.output_dir) / "adapter"
    save_adapter(model, adapter, plan)
    saved = Saved(
        adapter_dir=str(adapter),
        results_dir=str(results),
        train_loss=progress.train_loss,
        eval_loss=progress.eval_loss,
        trained_tokens=trainer.trained_tokens,
        steps=trainer.state.global_step,
        seconds=round(progress.seconds, 3),
        tokens_per_second=round(trainer.read_tokens / progress.seconds, 2),
        memory_peak=memory_peak(),
    )
    write_card(adapter, plan, planned, saved)
    here = ready(plan.device)
    hardware = {
        "device": here.device,
        "name": here.name,
        "dtype": str(compute_dtype(plan.device)).removeprefix("torch."),
    }
    write_manifest(results / "manifest.json", plan, planned, saved, hardware, here.versions)
    trained = answers(model, plan, [row.input_ids for row in training])
    del trainer, model, base
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    tell(replace(saved, memory_peak=memory_peak()))
    return trained
