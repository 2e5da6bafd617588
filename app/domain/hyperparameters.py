"""The hyperparameters of a tuning: name, type, bounds, default and meaning, once and for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

LARGEST_AUTO_BATCH = 16
ROWS_PER_AUTO_STEP = 48
LONGEST_AUTO_LENGTH = 2048

Scheduler = Literal["cosine", "linear", "constant"]


class Hyperparameters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every hyperparameter, resolved: what the trainer is told and what the job shows."""

    rank: Annotated[int, Meta(ge=1, le=256, description="Rank of the adapter's matrices.")] = 16
    alpha: Annotated[float, Meta(gt=0, le=1024, description="Scale of the adapter; auto: twice the rank.")]
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Dropout before the adapter.")] = 0.0
    epochs: Annotated[int, Meta(ge=1, le=100, description="Passes over the training rows.")] = 3
    batch_size: Annotated[int, Meta(ge=1, le=1024, description="Rows per optimizer step; auto: by rows.")]
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="Peak learning rate.")] = 2e-4
    scheduler: Annotated[Scheduler, Meta(description="How the learning rate falls.")] = "cosine"
    warmup_ratio: Annotated[float, Meta(ge=0, lt=1, description="Share of steps the rate rises over.")] = 0.03
    weight_decay: Annotated[float, Meta(ge=0, le=1, description="AdamW's weight decay.")] = 0.0
    max_grad_norm: Annotated[float, Meta(gt=0, le=1000, description="Gradients are clipped to this.")] = 1.0
    max_length: Annotated[
        int, Meta(ge=16, le=1_048_576, description="Longest row, in tokens; auto: the model's, at most 2048.")
    ]
    use_quantization: Annotated[bool, Meta(description="Hold the base model in 4 bits: QLoRA (NF4).")] = False


FIELDS = {field.name: field for field in msgspec.structs.fields(Hyperparameters)}


class HyperparameterFault(Struct, frozen=True):
    """One thing wrong with one hyperparameter; `param` is `hyperparameters.<name>`."""

    param: str
    message: str


def resolve(
    given: Mapping[str, Any], *, rows: int, context_length: int
) -> Hyperparameters | tuple[HyperparameterFault, ...]:
    """Fill in defaults and every `"auto"`; or all faults at once.

    `rows` is the number of training rows, `context_length` the model's, in tokens. The source document's
    older nested form, `{"lora": {...}, "training": {...}}`, is taken as well.
    """
    flat, faults = _flattened(given)
    values: dict[str, Any] = {}
    for name, value in flat.items():
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            faults.append(
                HyperparameterFault(f"hyperparameters.{name}", f"{name} is not known; known are {known}")
            )
        elif value is None or (value == "auto" and name != "scheduler"):
            continue
        else:
            try:
                values[name] = msgspec.convert(value, FIELDS[name].type, strict=True)
            except msgspec.ValidationError as error:
                shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:40] + "…"
                faults.append(
                    HyperparameterFault(f"hyperparameters.{name}", f"{name} is {shown}: {_sentence(error)}")
                )
    if (longest := values.get("max_length", 0)) > context_length:
        faults.append(
            HyperparameterFault(
                "hyperparameters.max_length",
                f"max_length is {longest}, but the model's context is {context_length} tokens",
            )
        )
    if faults:
        return tuple(faults)
    values.setdefault("alpha", 2.0 * values.get("rank", 16))
    values.setdefault("batch_size", auto_batch_size(rows))
    values.setdefault("max_length", min(context_length, LONGEST_AUTO_LENGTH))
    return Hyperparameters(**values)


def auto_batch_size(rows: int) -> int:
    """The largest power of two that still leaves about 48 steps an epoch, at most 16."""
    size = 1
    while size * 2 <= min(LARGEST_AUTO_BATCH, rows // ROWS_PER_AUTO_STEP):
        size *= 2
    return size


def _flattened(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[HyperparameterFault]]:
    flat: dict[str, Any] = {}
    faults: list[HyperparameterFault] = []
    for name, value in given.items():
        if name in ("lora", "training") and isinstance(value, Mapping):
            inner = dict(value)
        elif name in ("lora", "training"):
            faults.append(HyperparameterFault(f"hyperparameters.{name}", f"{name} must be an object"))
            continue
        else:
            inner = {name: value}
        for key, item in inner.items():
            if key in flat and flat[key] != item:
                faults.append(
                    HyperparameterFault(f"hyperparameters.{key}", f"{key} is given twice, and differs")
                )
            flat[key] = item
    return flat, faults


def _sentence(error: msgspec.ValidationError) -> str:
    text = str(error)
    return text[0].lower() + text[1:]
