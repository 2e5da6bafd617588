"""One attempt: load, tokenise, train by TRL's SFTTrainer with PEFT, save; then verify what was stored."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes  # noqa: F401 – 6 s of import that a warm child has behind it
import msgspec
import peft
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, set_seed
from trl import SFTConfig

from app.datasets.check import read_lines
from app.datasets.tokenise import Tokens, labels_hash, tokenise
from app.trainer_worker.training.failures import bad_rows
from app.trainer_worker.training.frames import Frame, Phase, Planned, Ready, Saved, Verified
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.progress import Progress
from app.trainer_worker.training.trainer import RowTrainer, collate

VERIFIED_ROWS = 4
LARGEST_LOGIT_DIFFERENCE = 0.05

Tell = Callable[[Frame], None]


class Trained(msgspec.Struct, frozen=True):
    """A finished training, as far as its adapter's verification needs it."""

    plan: Plan
    rows: list[list[int]]
    logits: list[Any]


def ready(device: str | None) -> Ready:
    """What this child computes on."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "trl")}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Ready("cuda", properties.name, properties.total_memory, versions)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Ready("cpu", platform.processor() or platform.machine(), memory, versions)


def memory_peak() -> int:
    """The most memory held so far, in bytes: of the GPU, or of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def train(plan: Plan, tell: Tell) -> Trained:
    """Carry out a plan, telling how it goes. Raises whatever went wrong."""
    tell(Phase("loading"))
    transformers.utils.logging.set_verbosity_error()
    hyper = plan.hyperparameters
    tokenizer = AutoTokenizer.from_pretrained(plan.model_dir)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    training = read_rows(Path(plan.training_file), tokenizer, hyper.max_length, "training_file")
    validation = (
        read_rows(Path(plan.validation_file), tokenizer, hyper.max_length, "validation_file")
        if plan.validation_file
        else []
    )
    set_seed(plan.seed)  # before the adapter's weights are drawn
    model = with_adapter(load_base(plan), plan)
    results = Path(plan.output_dir) / "results"
    results.mkdir(parents=True, exist_ok=True)
    progress = Progress(tell, results / "metrics.jsonl", hyper.epochs, memory_peak)
    trainer = RowTrainer(
        model=model,
        args=arguments(plan, len(training), bool(validation)),
        train_dataset=_dataset(training),
        eval_dataset=_dataset(validation) if validation else None,
        data_collator=collate(tokenizer.pad_token_id),
        processing_class=tokenizer,
        callbacks=[progress],
    )
    progress.count_by(trainer)
    tell(
        Planned(
            total_steps=math.ceil(len(training) / hyper.batch_size) * hyper.epochs,
            train_rows=len(training),
            validation_rows=len(validation),
            tokens_per_epoch=sum(len(row.input_ids) for row in training),
            trainable_tokens=sum(row.trainable for row in training),
            cut_tokens=sum(row.cut for row in training),
            labels_hash=labels_hash(training),
        )
    )
    tell(Phase("training"))
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    tell(Phase("saving"))
    adapter = Path(plan.output_dir) / "adapter"
    save_adapter(model, adapter, plan)
    _write_manifest(results / "manifest.json", plan, labels_hash(training), progress, seconds)
    rows = [row.input_ids for row in training[:VERIFIED_ROWS]]
    trained = Trained(plan, rows, logits_of(model, rows))
    tell(
        Saved(str(adapter), str(results), progress.train_loss, progress.eval_loss, progress.trained_tokens)
    )
    return trained


def read_rows(path: Path, tokenizer: Any, max_length: int, param: str) -> list[Tokens]:
    """A file's rows as tokens. Raises `TrainingFault` naming the lines that cannot be trained on."""
    rows: list[Tokens] = []
    faulty: list[int] = []
    empty: list[int] = []
    for line, row, _, faults in read_lines(path):
        if faults or row is None:
            faulty.append(line)
            continue
        tokens = tokenise(row, tokenizer, max_length)
        if tokens.trainable == 0:
            empty.append(line)
        rows.append(tokens)
    if faulty or not rows:
        raise bad_rows("bad_rows", faulty, "rows that cannot be read", param)
    if empty:
        what = f"rows without a token to train on once they are cut to max_length {max_length}"
        raise bad_rows("no_trainable_tokens", empty, what, param)
    return rows


def load_base(plan: Plan) -> Any:
    """The base model in bf16, or in 4 bits (NF4, doubly quantised)."""
    options: dict[str, Any] = {"dtype": torch.bfloat16, "device_map": {"": plan.device}}
    if plan.hyperparameters.use_quantization:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return AutoModelForCausalLM.from_pretrained(plan.model_dir, **options)


def with_adapter(base: Any, plan: Plan) -> Any:
    """The base model with a fresh LoRA on all its linear layers."""
    hyper = plan.hyperparameters
    base.config.use_cache = False
    if hyper.use_quantization:
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=hyper.rank,
        lora_alpha=hyper.alpha,  # type: ignore[arg-type]
        lora_dropout=hyper.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)


def arguments(plan: Plan, rows: int, validates: bool) -> SFTConfig:
    """The plan in TRL's words."""
    hyper = plan.hyperparameters
    steps = math.ceil(rows / hyper.batch_size) * hyper.epochs
    cpu = plan.device == "cpu"
    return SFTConfig(
        output_dir=str(Path(plan.output_dir) / "trainer"),
        num_train_epochs=hyper.epochs,
        per_device_train_batch_size=hyper.batch_size,
        per_device_eval_batch_size=hyper.batch_size,
        gradient_accumulation_steps=1,
        learning_rate=hyper.learning_rate,
        lr_scheduler_type=hyper.scheduler,
        warmup_steps=math.ceil(steps * hyper.warmup_ratio),
        weight_decay=hyper.weight_decay,
        max_grad_norm=hyper.max_grad_norm,
        seed=plan.seed,
        use_cpu=cpu,
        bf16=True,
        gradient_checkpointing=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if validates else "no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=not cpu,
        remove_unused_columns=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def save_adapter(model: Any, folder: Path, plan: Plan) -> None:
    """The adapter as stock PEFT reads it, naming its base by id and not by a path of this machine."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = plan.model_id
    model.save_pretrained(folder, save_embedding_layers=False)
    card = (
        f"# {plan.job_id}\n\nA LoRA adapter for `{plan.model_id}` ({plan.model_revision}), tuned by Tunesmith.\n\n"
        "```python\nfrom peft import PeftModel\nmodel = PeftModel.from_pretrained(base_model, adapter_folder)\n```\n"
    )
    (folder / "README.md").write_text(card)


def logits_of(model: Any, rows: list[list[int]]) -> list[Any]:
    """The logits of a few rows, one row at a time, as the user of an adapter computes them."""
    model.eval()
    with torch.inference_mode():
        return [model(input_ids=torch.tensor([row], device=model.device)).logits.float().cpu() for row in rows]


def verify(trained: Trained, folder: Path, tell: Tell) -> None:
    """Load the stored adapter by stock PEFT on a fresh base and compare. Raises `TrainingFault`."""
    from app.trainer_worker.training.failures import TrainingFault
    from app.trainer_worker.training.frames import Failed

    tell(Phase("verifying"))
    loaded = PeftModel.from_pretrained(load_base(trained.plan), folder)
    found = logits_of(loaded, trained.rows)
    difference = max(float((a - b).abs().max()) for a, b in zip(trained.logits, found, strict=True))
    if not difference <= LARGEST_LOGIT_DIFFERENCE:
        message = f"the stored adapter's logits differ by {difference:g} from the trained one's"
        raise TrainingFault(Failed("adapter_differs", "platform", message))
    tell(Verified(difference))


def _dataset(rows: list[Tokens]) -> Dataset:
    return Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]})


def _write_manifest(path: Path, plan: Plan, hashed: str, progress: Progress, seconds: float) -> None:
    """What the run was made of, without paths: enough to repeat it."""
    manifest = {
        "job_id": plan.job_id,
        "attempt": plan.attempt,
        "model": {"id": plan.model_id, "revision": plan.model_revision},
        "seed": plan.seed,
        "hyperparameters": plan.hyperparameters,
        "labels_sha256": hashed,
        "train_loss": progress.train_loss,
        "eval_loss": progress.eval_loss,
        "trained_tokens": progress.trained_tokens,
        "seconds": round(seconds, 3),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
        "hardware": platform.machine(),
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
