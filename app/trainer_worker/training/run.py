"""One attempt: load, tokenise, train by TRL's trainer with PEFT, save."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from transformers import set_seed

from app.datasets.tokenise import labels_hash
from app.domain.hyperparameters import AUTO_BETA, steps_per_epoch
from app.trainer_worker.training.examples import write_examples
from app.trainer_worker.training.failures import is_out_of_memory, labels_changed
from app.trainer_worker.training.frames import Frame, Phase, Planned, Saved
from app.trainer_worker.training.memory import give_back, memory_peak
from app.trainer_worker.training.model import (
    compute_dtype,
    load_base,
    load_tokenizer,
    ready,
    with_adapter,
)
from app.trainer_worker.training.packing import pack
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.points import AskedToRest, Points, run_of, to_go_on_from
from app.trainer_worker.training.progress import Progress
from app.trainer_worker.training.results import Run, save_adapter, write_card, write_manifest
from app.trainer_worker.training.rows import Row, as_dataset, as_packed_dataset, as_pairs, read_rows
from app.trainer_worker.training.stopping import Patience
from app.trainer_worker.training.together import ALONE, Together
from app.trainer_worker.training.trainer import PairTrainer, RowTrainer, collate, collate_pairs, configuration
from app.trainer_worker.training.verify import Answers, answers
from app.trainer_worker.training.weights import put_back, trained_weights

Tell = Callable[[Frame], None]


class OutOfMemory(MemoryError):
    """Memory ran out in training or in evaluation, after `step`."""

    def __init__(self, step: int) -> None:
        super().__init__(f"out of memory after step {step}")
        self.step = step


def never() -> bool:
    """Nobody asks a child that runs alone to rest."""
    return False


def train(
    plan: Plan, tell: Tell, asked_to_rest: Callable[[], bool] = never, together: Together = ALONE
) -> Answers | None:
    """Carry out a plan, telling how it goes. Raises whatever went wrong, and `AskedToRest`.

    All processes of a plan do this, with folders for output of their own, but what is made of the outcome is
    made by the first alone.
    """
    tell(Phase("loading"))
    hyper, pairs = plan.hyperparameters, plan.method == "dpo"
    tokenizer = load_tokenizer(plan.model_dir)

    def rows_of(path: str, param: str) -> list[Row]:
        return read_rows(Path(path), tokenizer, hyper.max_length, hyper.train_on, plan.method, param)

    training = rows_of(plan.training_file, "training_file")
    validation = rows_of(plan.validation_file, "validation_file") if plan.validation_file else []
    learned, checked = ([side for row in rows for side in row.sides] for rows in (training, validation))
    hashed = labels_hash(chain(learned, checked))
    if plan.labels_hash is not None and plan.labels_hash != hashed:
        raise labels_changed(plan.labels_hash, hashed)
    run = run_of(plan, hashed)
    if together.decided(asked_to_rest())[0]:
        raise AskedToRest(None)
    base = load_base(plan)
    give_back()  # weights pass through other types on their way
    set_seed(plan.seed % 2**32)  # before the adapter's weights are drawn
    model = with_adapter(base, plan)
    begin = trained_weights(model)
    results = Path(plan.output_dir) / "results"
    results.mkdir(parents=True, exist_ok=True)
    curve = results / "metrics.jsonl"
    curve.unlink(missing_ok=True)

    def ready_made(rows: list[Row]) -> Any:
        if pairs:
            return as_pairs([row.sides for row in rows])
        alone = [side for row in rows for side in row.sides]
        return as_packed_dataset(pack(alone, hyper.max_length)) if hyper.packing else as_dataset(alone)

    sequences = ready_made(training)
    per_epoch = steps_per_epoch(len(sequences), hyper.batch_size)
    total_steps = hyper.max_steps or per_epoch * hyper.epochs
    options: dict[str, Any] = {
        "model": model,
        "args": configuration(plan, total_steps),
        "train_dataset": sequences,
        "eval_dataset": ready_made(validation) if validation else None,
        "data_collator": (collate_pairs if pairs else collate)(tokenizer.pad_token_id),
        "processing_class": tokenizer,
        "together": together,
    }
    beta = hyper.beta or AUTO_BETA
    trainer = PairTrainer(beta=beta, reference=begin, **options) if pairs else RowTrainer(**options)
    if together.rank:
        set_seed((plan.seed + together.rank) % 2**32)  # for dropout of its own
    put_back(model, begin)  # TRL turns the adapter of a quantised model to bf16, which loses small updates
    waiting = hyper.early_stopping_patience
    patience = Patience(waiting, hyper.early_stopping_min_delta) if waiting is not None else None
    progress = Progress(tell, curve, per_epoch, hyper.eval_every, memory_peak, patience)
    progress.follow(trainer)
    points = Points(plan, run, tell, asked_to_rest, trainer, progress, per_epoch)
    found = to_go_on_from(plan, run)
    if found is not None:
        points.go_on(found)
    planned = Planned(
        total_steps=total_steps,
        train_rows=len(training),
        sequences=len(sequences),
        validation_rows=len(validation),
        tokens_per_epoch=sum(len(row.input_ids) for row in learned),
        trainable_tokens=sum(row.trainable for row in learned),
        cut_tokens=sum(row.cut for row in learned),
        labels_hash=hashed,
        total_epochs=-(-total_steps // per_epoch),
        effective_batch_size=hyper.batch_size,
        trainable_parameters=sum(one.numel() for one in model.parameters() if one.requires_grad),
        done_steps=found.manifest.step if found is not None else 0,
    )
    tell(planned)
    tell(Phase("training"))
    try:
        points.train(total_steps)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(trainer.state.global_step) from error
        raise
    progress.close()
    read_tokens, trained_tokens = map(int, together.summed(trainer.read_tokens, trainer.trained_tokens))
    if together.rank:
        return None
    trainer.read_tokens = read_tokens
    eval_loss, kept_step = progress.eval_loss, trainer.state.global_step
    if patience is not None and progress.best is not None:
        put_back(model, progress.best)
        eval_loss, kept_step = patience.best, progress.best_step
    looked = write_examples(
        plan, results / "examples.jsonl", trainer, training, begin, tokenizer.pad_token_id
    )
    tell(Phase("saving"))
    adapter = Path(plan.output_dir) / "adapter"
    save_adapter(model, adapter, plan)
    saved = Saved(
        adapter_dir=str(adapter),
        results_dir=str(results),
        train_loss=progress.train_loss,
        eval_loss=eval_loss,
        trained_tokens=trained_tokens,
        steps=trainer.state.global_step,
        kept_step=kept_step,
        seconds=round(progress.seconds, 3),
        tokens_per_second=round(read_tokens / progress.seconds, 2),
        memory_peak=memory_peak(),
    )
    here, dtype = ready(plan.device), str(compute_dtype(plan.device)).removeprefix("torch.")
    hardware = {"device": here.device, "name": here.name, "dtype": dtype}
    made = Run(plan, planned, saved, looked, hardware, here.versions)
    write_card(adapter, made, curve)
    write_manifest(results / "manifest.json", made)
    # What training held is free before the model is asked, and the model before anything is loaded anew.
    del trainer, options, progress, points
    give_back()
    trained = answers(model, plan, [row.input_ids for row in learned])
    del model, base
    give_back()
    tell(replace(saved, memory_peak=memory_peak()))
    return trained
