"""A create as OpenAI's clients send it, read as the fields of a `TuningRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from app.api.requests import read_fields
from app.api.schemas.errors import RequestFault
from app.api.schemas.hyperparameters import FIELDS, OLDER
from app.api.schemas.openai.names import HYPERPARAMETERS, MULTIPLIED
from app.api.schemas.tunings import Metadata, Priority, Seed, Suffix, Text
from app.domain.hyperparameters import AUTO_LEARNING_RATES, MOST_EPOCHS
from app.domain.tunings import Method
from app.domain.wording import in_words

OFFERED = get_args(Method)
KNOWN = ("supervised", "dpo", "reinforcement")
NESTED = ("method", "hyperparameters", "integrations")
UNSUPPORTED = "unsupported"

Multiplier = Annotated[float, Meta(gt=0, le=5000)]
Auto = Literal["auto"]


def _described(name: str) -> str:
    """What our own table says of a hyperparameter."""
    return str(FIELDS[name]["description"])


class FineTuningHyperparameters(Struct, frozen=True, kw_only=True):
    """OpenAI's hyperparameters. Any other one of a tuning may stand beside them, by its own name."""

    n_epochs: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_EPOCHS)] | Auto | None, Meta(description=_described("epochs"))
    ] = "auto"
    batch_size: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | Auto | None, Meta(description=_described("batch_size"))
    ] = "auto"
    learning_rate_multiplier: Annotated[
        Multiplier | Auto | None,
        Meta(description=f"Multiple {MULTIPLIED}. `auto`: 1."),
    ] = "auto"
    beta: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | Auto | None, Meta(description=_described("beta"))
    ] = "auto"


# What else may be set, and is read by what a tuning's request takes.
BESIDE = {
    name: schema
    for name, schema in (FIELDS | OLDER).items()
    if name not in FineTuningHyperparameters.__struct_fields__
}


class MethodSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What belongs to one method."""

    hyperparameters: Annotated[
        FineTuningHyperparameters | None, Meta(description="What to set; the rest is chosen.")
    ] = None


class FineTuningMethod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train."""

    type: Annotated[Literal["supervised", "dpo"], Meta(description="OpenAI's reinforcement is not offered.")]
    supervised: Annotated[
        MethodSettings | None, Meta(description="What belongs to it, when it is `type`.")
    ] = None
    dpo: Annotated[MethodSettings | None, Meta(description="What belongs to it, when it is `type`.")] = None


class FineTuningJobRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tuning to create, as OpenAI's clients say it."""

    model: Annotated[Text, Meta(description="Id of a model, from /v1/models.")]
    training_file: Annotated[Text, Meta(description="Id of an uploaded file.")]
    validation_file: Annotated[Text | None, Meta(description="Id of another, for the loss per epoch.")] = None
    method: Annotated[FineTuningMethod | None, Meta(description="Supervised if left out.")] = None
    hyperparameters: Annotated[
        FineTuningHyperparameters | None,
        Meta(description="Where older clients say what belongs to `method`."),
    ] = None
    suffix: Annotated[Suffix | None, Meta(description="Part of the tuned model's name.")] = None
    seed: Annotated[Seed | None, Meta(description="For a run that can be repeated; else chosen.")] = None
    metadata: Annotated[Metadata | None, Meta(description="Up to 16 pairs of your own.")] = None
    integrations: Annotated[
        Annotated[list[Any], Meta(max_length=0)] | None, Meta(description="None is offered: null or empty.")
    ] = None
    priority: Priority = 0


class Understood(Struct, frozen=True):
    """A `TuningRequest`'s fields, what is wrong so far, and where the client wrote what we call otherwise."""

    values: dict[str, Any]
    faults: list[RequestFault]
    sources: dict[str, str]


def understood(body: Mapping[str, Any]) -> Understood:
    """What a create means, and every fault in how it says so."""
    flat = {name: value for name, value in body.items() if name not in NESTED}
    values, faults = read_fields(FineTuningJobRequest, flat)
    if body.get("integrations") not in (None, []):
        faults.append(RequestFault("integrations", "integrations are not offered here", UNSUPPORTED))
    method, settings = _method(body.get("method"), faults)
    hyperparameters: dict[str, Any] = {}
    sources: dict[str, str] = {}
    places: tuple[tuple[str, Any], ...] = (
        ("hyperparameters", body.get("hyperparameters")),
        (f"method.{method}.hyperparameters", settings.get("hyperparameters")),
    )
    for where, given in places:
        if given is not None and not isinstance(given, Mapping):
            faults.append(RequestFault(where, f"{where} must be an object"))
            continue
        for name, value in (given or {}).items():
            param, ours = f"{where}.{name[:64]}", str(HYPERPARAMETERS.get(name, name))
            meant = (
                _learning_rate(param, value, method, faults) if name == "learning_rate_multiplier" else value
            )
            if meant is None:
                continue
            if hyperparameters.setdefault(ours, meant) != meant:
                faults.append(RequestFault(param, f"{name[:64]} is given twice, and differs"))
            sources[f"hyperparameters.{ours[:64]}"] = param
    return Understood(values | {"method": method, "hyperparameters": hyperparameters}, faults, sources)


def _method(given: Any, faults: list[RequestFault]) -> tuple[str, Mapping[str, Any]]:
    """The method's type and its settings."""
    if given is None:
        return "supervised", {}
    if not isinstance(given, Mapping):
        faults.append(RequestFault("method", "method must be an object"))
        return "supervised", {}
    kind = given.get("type")
    if kind is None:
        faults.append(RequestFault("method.type", "method.type is required", "missing_field"))
    elif kind not in OFFERED:
        message = f"method.type is {str(kind)[:64]!r}; offered are {', '.join(OFFERED)}"
        faults.append(RequestFault("method.type", message, UNSUPPORTED if kind in KNOWN else "invalid_value"))
    for name, value in given.items():
        if name in ("type", kind):
            continue
        if name not in KNOWN:
            faults.append(_unknown("method", name))
        elif value is not None:
            faults.append(RequestFault(f"method.{name}", f"{name} is not what method.type says"))
    if not isinstance(kind, str) or kind not in OFFERED:
        return "supervised", {}
    return kind, _settings(f"method.{kind}", given.get(kind), faults)


def _settings(param: str, given: Any, faults: list[RequestFault]) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        faults.append(RequestFault(param, f"{param} must be an object"))
        return {}
    faults += [_unknown(param, name) for name in given if name != "hyperparameters"]
    return given


def _unknown(where: str, name: str) -> RequestFault:
    return RequestFault(f"{where}.{name[:64]}", f"{name[:64]!r} is not known", "unknown_field")


def _learning_rate(param: str, value: Any, method: str, faults: list[RequestFault]) -> Any:
    """The learning rate that a multiplier means; None when it means none."""
    if value is None or value == "auto":
        return value
    try:
        rate = msgspec.convert(value, Multiplier, strict=True) * AUTO_LEARNING_RATES[method]
    except msgspec.ValidationError as error:
        faults.append(RequestFault(param, in_words("learning_rate_multiplier", error)))
        return None
    return float(f"{rate:.12g}")  # 0.1 times 0.0002 is to be 0.00002, and shown so


def in_their_words(fault: RequestFault, sources: Mapping[str, str]) -> RequestFault:
    """A fault of what we made of the request, told of what the client wrote."""
    theirs = sources.get(fault.param or "")
    if fault.param is None or theirs is None:
        return fault
    ours, named = fault.param.rpartition(".")[2], theirs.rpartition(".")[2]
    message = named + fault.message[len(ours) :] if fault.message.startswith(ours) else fault.message
    return replace(fault, param=theirs, message=message)
