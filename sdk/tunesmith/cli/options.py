"""The options of create, estimate and preview; those of hyperparameters are made of the table of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tunesmith import HYPERPARAMETERS, Hyperparameter
from tunesmith.cli.ids import models
from tunesmith.cli.pairs import hyperparameters_of

PANEL = "Hyperparameters"
TRAINING_FILE = "Id of a file, or the path of one to upload."
KINDS = {"int": "INT", "float": "NUMBER", "str": "WORD", "names": "NAMES"}

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Id of a base model, or of a tuned one.",
        show_default=False,
        autocompletion=models,
    ),
]
TrainingFile = Annotated[str, typer.Option("--training-file", "-t", help=TRAINING_FILE, show_default=False)]
ValidationFile = Annotated[
    str | None, typer.Option("--validation-file", "-v", help=TRAINING_FILE, show_default=False)
]
Method = Annotated[
    str | None,
    typer.Option(help="supervised, or dpo for pairs of a better and a worse answer.", show_default=False),
]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--hyperparameter",
        "-H",
        metavar="NAME=VALUE",
        help="Set one by its name, such as rank=8; can be repeated.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]


def with_hyperparameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each hyperparameter; it gets what was set as `hyperparameters`."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name not in ("hyperparameters", "json")]

    @functools.wraps(command)
    def with_them(hyperparameter: list[str] | None, **given: Any) -> None:
        chosen = hyperparameters_of(hyperparameter or [])
        for row in HYPERPARAMETERS:
            value = given.pop(row.name)
            if value is None or value is False:  # a flag that was not given
                continue
            if row.name in chosen:
                raise typer.BadParameter(f"{row.name} is given twice: by {_flag(row)} and by -H")
            chosen[row.name] = value
        command(**given, hyperparameters=chosen)

    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [
        *(
            inspect.Parameter(row.name, keyword, default=None, annotation=_option(row))
            for row in HYPERPARAMETERS
        ),
        inspect.Parameter("hyperparameter", keyword, default=None, annotation=Pairs),
        signature.parameters["json"].replace(kind=keyword),
    ]
    with_them.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return with_them


def _option(row: Hyperparameter) -> Any:
    option = typer.Option(
        _flag(row),
        help=_meaning(row),
        parser=None if row.type == "bool" else functools.partial(_read, row),
        metavar=None if row.type == "bool" else KINDS[row.type],
        rich_help_panel=PANEL,
        show_default=False,
    )
    return Annotated[(bool if row.type == "bool" else str) | None, option]


def _flag(row: Hyperparameter) -> str:
    return "--" + row.name.replace("_", "-")


def _read(row: Hyperparameter, text: str) -> Any:
    """The value that a text means. Bounds are the service's to hold: it tells all faults at once."""
    if (text == "auto" and row.auto is not None) or text in row.choices:
        return text
    try:
        if row.type == "int":
            return int(text)
        if row.type == "float":
            return float(text)
    except ValueError:
        raise typer.BadParameter(f"{_flag(row)} is {text!r}: give {_expected(row)}") from None
    if row.choices and row.type == "str":
        raise typer.BadParameter(f"{_flag(row)} is {text!r}: give {_expected(row)}")
    return [name.strip() for name in text.split(",") if name.strip()] if row.type == "names" else text


def _expected(row: Hyperparameter) -> str:
    words = {"int": "a whole number", "float": "a number"}.get(row.type, ", ".join(row.choices))
    return f"{words} or auto" if row.auto else words


def _meaning(row: Hyperparameter) -> str:
    """Description, bounds and default, in one line."""
    told = [_bounds(row)] if _bounds(row) else []
    if row.type == "names":
        told.append("names with commas between them")
    elif row.choices:
        told.append(" or ".join(row.choices))
    if row.auto:
        told.append(f"auto: {row.auto}")
    elif row.default is not None and row.type != "bool":
        told.append(f"default {row.default}")
    return f"{row.description} ({'; '.join(told)})" if told else row.description


def _bounds(row: Hyperparameter) -> str:
    low = (
        f"from {row.minimum:g}"
        if row.minimum is not None
        else f"above {row.exclusive_minimum:g}"
        if row.exclusive_minimum is not None
        else ""
    )
    high = (
        f"to {row.maximum:.10g}"
        if row.maximum is not None
        else f"below {row.exclusive_maximum:g}"
        if row.exclusive_maximum is not None
        else ""
    )
    return " ".join(filter(None, (low, high)))
