"""The hyperparameters of a tuning: name, type, bounds, default and meaning, once and for all.

The fields of `Hyperparameters` are the one table: the request's schema, the SDK's types and options and the
reference are made of `TABLE`. A field whose `Meta` has an `extra` of `auto` takes `"auto"`, which is the same
as not given: the value is derived, as the `extra` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo

from app.domain.wording import sentence

LARGEST_AUTO_BATCH = 16
ROWS_PER_AUTO_STEP = 48
LONGEST_AUTO_LENGTH = 2048
AUTO_EPOCHS = 3
MOST_EPOCHS = 100
AUTO_LEARNING_RATES = {"supervised": 2e-4, "dpo": 2e-5}
AUTO_BETA = 0.1
LONGEST_NAME = 64
SHAPE = ("rank", "alpha", "target_modules", "use_rslora", "use_dora")  # what an adapter is, once it is made

Scheduler = Literal["cosine", "linear", "constant"]
TrainOn = Literal["assistant", "all"]
ModuleName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.]+$")]
ModuleNames = Annotated[tuple[ModuleName, ...], Meta(min_length=1, max_length=64)]
Steps = Annotated[int, Meta(ge=1, le=10_000_000)]


class Hyperparameters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every hyperparameter, resolved: what the trainer is told and what the job shows."""

    rank: Annotated[int, Meta(ge=1, le=256, description="Rank of the adapter's matrices.")] = 16
    alpha: Annotated[
        float,
        Meta(
            gt=0,
            le=1024,
            description="Scale of the adapter.",
            extra={"auto": "twice the rank, with use_rslora twice its square root"},
        ),
    ]
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Dropout before the adapter.")] = 0.0
    target_modules: Annotated[
        Literal["all-linear"] | ModuleNames,
        Meta(description="Which layers get an adapter: all linear ones, or those with these names."),
    ] = "all-linear"
    use_rslora: Annotated[
        bool, Meta(description="Scale the adapter by alpha over the square root of the rank: rsLoRA.")
    ] = False
    use_dora: Annotated[
        bool, Meta(description="Train magnitude and direction of the weights apart: DoRA.")
    ] = False
    epochs: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST_EPOCHS,
            description="Passes over the training rows.",
            extra={"auto": f"{AUTO_EPOCHS}, with max_steps as many as those need"},
        ),
    ] = AUTO_EPOCHS
    max_steps: Annotated[
        Steps | None,
        Meta(description="End after so many optimizer steps, instead of after `epochs`; null: not before."),
    ] = None
    batch_size: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Rows per optimizer step.",
            extra={
                "auto": f"by the number of rows, at most {LARGEST_AUTO_BATCH}: "
                f"about {ROWS_PER_AUTO_STEP} steps an epoch or more"
            },
        ),
    ]
    gradient_accumulation: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Equal parts that a step's rows are taken in, one after the other, to save memory; "
            "divides batch_size.",
            extra={"auto": f"so many that a part has at most {LARGEST_AUTO_BATCH} rows"},
        ),
    ] = 1
    learning_rate: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Peak learning rate.",
            extra={
                "auto": ", ".join(f"{rate:g} for {method}" for method, rate in AUTO_LEARNING_RATES.items())
            },
        ),
    ] = AUTO_LEARNING_RATES["supervised"]
    scheduler: Annotated[Scheduler, Meta(description="How the learning rate falls.")] = "cosine"
    warmup_ratio: Annotated[float, Meta(ge=0, lt=1, description="Share of steps the rate rises over.")] = 0.03
    weight_decay: Annotated[float, Meta(ge=0, le=1, description="AdamW's weight decay.")] = 0.0
    max_grad_norm: Annotated[float, Meta(gt=0, le=1000, description="Gradients are clipped to this.")] = 1.0
    max_length: Annotated[
        int,
        Meta(
            ge=16,
            le=1_048_576,
            description="Longest row, in tokens; what is longer is cut.",
            extra={"auto": f"the model's context, at most {LONGEST_AUTO_LENGTH}"},
        ),
    ]
    packing: Annotated[
        bool, Meta(description="Lay several rows into one sequence of max_length, each seeing only itself.")
    ] = False
    train_on: Annotated[
        TrainOn,
        Meta(description="Which tokens are learned: the assistant's, or all of the conversation's."),
    ] = "assistant"
    use_quantization: Annotated[bool, Meta(description="Hold the base model in 4 bits: QLoRA (NF4).")] = False
    early_stopping_patience: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="End after so many evaluations in a row without a lower validation loss, and keep "
            "the adapter of the lowest; null: never."
        ),
    ] = None
    early_stopping_min_delta: Annotated[
        float, Meta(ge=0, le=100, description="By how much the loss must fall to count as lower.")
    ] = 0.0
    eval_every: Annotated[
        Steps | None,
        Meta(
            description="Optimizer steps from one evaluation on the validation file to the next; one is made "
            "at the end of each epoch in any case, and null is only those."
        ),
    ] = None
    checkpoints_kept: Annotated[
        int, Meta(ge=1, le=100, description="How many of the newest checkpoints are kept.")
    ] = 2
    beta: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(
            description="DPO: how strongly the model is held to what it was; null for other methods.",
            extra={"auto": f"{AUTO_BETA:g} for dpo"},
        ),
    ] = None


class Hyperparameter(Struct, frozen=True):
    """A row of the table.

    `type` is what a value may be, bounds and all; `default` what holds when none is given, `"auto"` where it
    is derived; `auto` tells how, and is None where `"auto"` cannot be given.
    """

    name: str
    type: Any
    default: Any
    auto: str | None
    description: str


def _row(field: FieldInfo) -> Hyperparameter:
    [meta] = field.type.__metadata__
    auto = (meta.extra or {}).get("auto")
    return Hyperparameter(field.name, field.type, "auto" if auto else field.default, auto, meta.description)


TABLE = {field.name: _row(field) for field in msgspec.structs.fields(Hyperparameters)}


class HyperparameterFault(Struct, frozen=True):
    """One thing wrong with one hyperparameter; `param` is `hyperparameters.<name>`."""

    param: str
    message: str


def resolve(
    given: Mapping[str, Any],
    *,
    rows: int | None,
    context_length: int | None,
    method: str = "supervised",
    validation: bool = False,
    adapter: Hyperparameters | None = None,
) -> Hyperparameters | tuple[HyperparameterFault, ...]:
    """Fill in defaults and every `"auto"`; or all faults at once.

    `rows` is the number of training rows, `context_length` the model's, in tokens; None where it is not
    known, which only a request with faults of its own may say. `validation`: whether there is a file for it.
    `adapter` made the adapter that training goes on from, whose shape it keeps. The source document's older
    nested form, `{"lora": {...}, "training": {...}}`, is taken as well.
    """
    flat, faults = _flattened(given)
    values: dict[str, Any] = {}
    for name, value in flat.items():
        try:
            if (read := _read(name, value)) is not None:
                values[name] = read
        except ValueError as error:
            faults.append(_fault(name[:LONGEST_NAME], str(error)))
    faults += _conflicts(values, rows, context_length, method, validation=validation)
    for name in SHAPE if adapter is not None else ():
        kept = getattr(adapter, name)
        if values.setdefault(name, kept) != kept:
            told = f"{name} is {values[name]}, but the adapter to go on from has {kept}"
            faults.append(_fault(name, f"{told}: leave it out"))
    if faults:
        return tuple(faults)
    return Hyperparameters(**_derived(values, rows or 1, context_length or LONGEST_AUTO_LENGTH, method))


def auto_batch_size(rows: int) -> int:
    """The largest power of two that still leaves about 48 steps an epoch, at most 16."""
    size = 1
    while size * 2 <= min(LARGEST_AUTO_BATCH, rows // ROWS_PER_AUTO_STEP):
        size *= 2
    return size


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimizer steps in a pass over the rows; the last one takes what is left."""
    return -(-rows // batch_size)


def _read(name: str, value: Any) -> Any:
    """A value as its row of the table wants it; None when it is to be derived. Raises `ValueError`."""
    row = TABLE.get(name)
    if row is None:
        raise ValueError(f"{name[:LONGEST_NAME]} is not known; known are {', '.join(TABLE)}")
    if value is None or (value == "auto" and row.auto is not None):
        return None
    if value == "auto":
        raise ValueError(f"{name} is 'auto', but nothing is derived for it: give a value, or leave it out")
    shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:40] + "…"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {shown}: expected a finite number")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as JSON Schema has it, 3.0 is an integer too
    try:
        return msgspec.convert(value, row.type, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name} is {shown}: {sentence(str(error), row.type)}") from error
    except OverflowError as error:
        raise ValueError(f"{name} is {shown}: the number is too large") from error


def _conflicts(
    values: Mapping[str, Any],
    rows: int | None,
    context_length: int | None,
    method: str,
    *,
    validation: bool,
) -> Iterator[HyperparameterFault]:
    """What cannot be together, among values that are each right for themselves."""
    longest, steps, parts = (
        values.get(name) for name in ("max_length", "max_steps", "gradient_accumulation")
    )
    if longest is not None and context_length is not None and longest > context_length:
        yield _fault(
            "max_length", f"max_length is {longest}, but the model's context is {context_length} tokens"
        )
    if parts is not None and values.get("batch_size", parts) % parts:
        told = f"batch_size {values['batch_size']} cannot be taken in {parts} equal parts"
        yield _fault("gradient_accumulation", f"{told}; give one that divides it")
    if steps is not None and "epochs" in values:
        yield _fault("max_steps", "give epochs or max_steps, not both")
    elif steps is not None and rows is not None:
        size = values.get("batch_size") or _auto_batch(rows, parts)
        if (epochs := -(-steps // steps_per_epoch(rows, size))) > MOST_EPOCHS:
            told = f"max_steps is {steps}, which is {epochs} passes over {rows} rows"
            yield _fault("max_steps", f"{told}; at most {MOST_EPOCHS} are possible")
    for name in ("early_stopping_patience", "eval_every"):
        if name in values and not validation:
            yield _fault(name, f"{name} needs a validation_file: give one, or leave it out")
    if values.get("early_stopping_min_delta") and "early_stopping_patience" not in values:
        told = "early_stopping_min_delta has no meaning without early_stopping_patience"
        yield _fault("early_stopping_min_delta", f"{told}: give that as well, or leave it out")
    if "beta" in values and method != "dpo":
        yield _fault("beta", f"beta belongs to the method dpo, and the method is {method}: leave it out")
    if method == "dpo" and values.get("packing"):
        yield _fault("packing", "pairs of answers cannot be packed: leave packing out, or train supervised")
    if method == "dpo" and values.get("train_on") == "all":
        yield _fault("train_on", "dpo compares answers and nothing else: leave train_on out")


def _derived(values: dict[str, Any], rows: int, context_length: int, method: str) -> dict[str, Any]:
    """The values with all that is derived."""
    made = dict(values)
    rank, parts = values.get("rank", 16), values.get("gradient_accumulation")
    scale = math.sqrt(rank) if values.get("use_rslora") else rank
    made.setdefault("alpha", round(2.0 * scale, 4))
    size = made.setdefault("batch_size", _auto_batch(rows, parts))
    fitting = (n for n in range(1, size + 1) if size % n == 0 and size // n <= LARGEST_AUTO_BATCH)
    made.setdefault("gradient_accumulation", next(fitting))
    made.setdefault("max_length", min(context_length, LONGEST_AUTO_LENGTH))
    made.setdefault("learning_rate", AUTO_LEARNING_RATES[method])
    if "max_steps" in values:
        made["epochs"] = -(-values["max_steps"] // steps_per_epoch(rows, size))
    if method == "dpo":
        made.setdefault("beta", AUTO_BETA)
    return made


def _auto_batch(rows: int, parts: int | None) -> int:
    """The derived batch size, in as many equal parts as are wanted."""
    size, parts = auto_batch_size(rows), parts or 1
    return max(parts, size // parts * parts)


def _flattened(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[HyperparameterFault]]:
    flat: dict[str, Any] = {}
    faults: list[HyperparameterFault] = []
    for name, value in given.items():
        if name in ("lora", "training") and isinstance(value, Mapping):
            inner = dict(value)
        elif name in ("lora", "training") and value is None:
            continue  # as with every other, null is not given
        elif name in ("lora", "training"):
            faults.append(_fault(name, f"{name} must be an object"))
            continue
        else:
            inner = {name: value}
        for key, item in inner.items():
            if key in flat and flat[key] != item:
                faults.append(_fault(key[:LONGEST_NAME], f"{key[:LONGEST_NAME]} is given twice, and differs"))
            flat[key] = item
    return flat, faults


def _fault(name: str, message: str) -> HyperparameterFault:
    return HyperparameterFault(f"hyperparameters.{name}", message)
