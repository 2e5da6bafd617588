"""The model of a plan: the base as it is on disk or in 4 bits, the adapter on it, stock PEFT's way back."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from app.trainer_worker.training.failures import (
    adapter_not_usable_again,
    is_out_of_memory,
    model_unreadable,
    unknown_target_modules,
)
from app.trainer_worker.training.frames import Ready
from app.trainer_worker.training.plan import Plan

VERSIONS_OF = ("torch", "transformers", "peft", "trl", "bitsandbytes", "tunesmith-server")


def ready(device: str | None = None, processes: int = 1) -> Ready:
    """What this child computes on, in so many processes if there are so many devices."""
    versions = {name: version(name) for name in VERSIONS_OF}
    if device != "cpu" and torch.cuda.is_available():
        processes = min(processes, torch.cuda.device_count())
        found = [torch.cuda.get_device_properties(number) for number in range(processes)]
        versions["cuda"] = str(torch.version.cuda)
        return Ready("cuda", found[0].name, min(one.total_memory for one in found), versions, processes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Ready("cpu", _cpu_name(), memory // processes, versions, processes)


def compute_dtype(device: str) -> torch.dtype:
    """The floating point that is fast on the device: bf16 where matrix units have it, else fp32.

    A CPU with AVX512-BF16 but without AMX multiplies bf16 at half the speed of fp32.
    """
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else torch.float32


def load_tokenizer(model_dir: str) -> Any:
    """The model's tokenizer, with a token to pad with. Raises `TrainingFault`."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library that reads it raises this very class
        raise model_unreadable(error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(plan: Plan) -> Any:
    """The base on the plan's device, for QLoRA in 4 bits (NF4, doubly quantised). Raises `TrainingFault`."""
    return _load(plan, plan.device, quantised=plan.adapter == "qlora")


def load_whole(plan: Plan) -> Any:
    """The base in no fewer bits than it has on disk, in the machine's own memory. Raises `TrainingFault`."""
    return _load(plan, "cpu", quantised=False)


def _load(plan: Plan, device: str, *, quantised: bool) -> Any:
    dtype = compute_dtype(device)
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}, "local_files_only": True}
    options |= {"use_safetensors": True, "trust_remote_code": False}  # no pickles, no code of strangers
    if quantised:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    try:
        loading: Any = AutoModelForCausalLM
        base, told = loading.from_pretrained(plan.model_dir, output_loading_info=True, **options)
        if missing := sorted(told["missing_keys"]):  # the library would draw them at random
            raise ValueError(f"there is no {', '.join(missing[:3])}")
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        raise model_unreadable(error) from error
    base.config.use_cache = False
    _keep_weights(base)
    return base


def _keep_weights(base: Any) -> None:
    """Keep 4-bit weights as they were loaded.

    On CPUs with AVX512-BF16, bitsandbytes packs them anew at the first evaluation, with rounded scales, and
    so goes on training another base than the one that everybody else will load.
    """
    for module in base.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def with_adapter(base: Any, plan: Plan) -> Any:
    """The base with a LoRA in fp32: the plan's earlier one, or a fresh one drawn from the current seed.

    Raises `TrainingFault`.
    """
    hyper = plan.hyperparameters
    if plan.warm_start_dir is not None:
        return _with_earlier_adapter(base, plan.warm_start_dir, hyper.dropout)
    wanted = hyper.target_modules
    config = LoraConfig(
        r=hyper.rank,
        lora_alpha=hyper.alpha,  # type: ignore[arg-type]
        lora_dropout=hyper.dropout,
        use_rslora=hyper.use_rslora,
        use_dora=hyper.use_dora,
        target_modules=wanted if isinstance(wanted, str) else list(wanted),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        if "target modules" in str(error).lower() or "target_modules" in str(error):
            raise unknown_target_modules(wanted if isinstance(wanted, str) else ", ".join(wanted)) from error
        raise


def _with_earlier_adapter(base: Any, folder: str, dropout: float) -> Any:
    """The base with the adapter of an earlier run, to be trained on; only its dropout is the new run's."""
    try:
        config = PeftConfig.from_pretrained(folder)
        config.lora_dropout = dropout
        return PeftModel.from_pretrained(base, folder, is_trainable=True, config=config)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise adapter_not_usable_again(error) from error


def load_tuned(plan: Plan, adapter_dir: Path) -> Any:
    """A fresh base with the adapter in `adapter_dir`, by stock PEFT, in the type it was saved in."""
    return PeftModel.from_pretrained(
        load_base(plan), str(adapter_dir), autocast_adapter_dtype=_saved_in_fp32(adapter_dir)
    )


def _saved_in_fp32(adapter_dir: Path) -> bool:
    """Whether PEFT's default, adapters in fp32, keeps this one as it is."""
    with safe_open(adapter_dir / "adapter_model.safetensors", framework="pt") as tensors:
        names = list(tensors.keys())
        return not names or tensors.get_slice(names[0]).get_dtype() == "F32"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
