"""`hyperparameters.md`: the one table of hyperparameters, to read."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.hyperparameters import TABLE, Hyperparameter
from scripts.docs.markdown import code, page, table
from scripts.docs.schemas import kind_of

INTRODUCTION = """\
What may stand in `hyperparameters` of a tuning. Whatever is left out has its default; where that is
`"auto"`, the service derives the value when the tuning is created, and the tuning shows what it chose. The
same names are keyword arguments of `tunesmith.Hyperparameters` and options of `tunesmith tunings create`
(`--learning-rate`).

[Set hyperparameters](../guide/hyperparameters.md) says which to begin with."""


def text() -> str:
    """The page."""
    rows = [(code(row.name), _kind(row), _default(row), _meaning(row)) for row in TABLE.values()]
    return page(
        "Hyperparameters",
        "`app/domain/hyperparameters.py`",
        INTRODUCTION,
        table(("name", "may be", "default", "meaning"), rows),
    )


def _kind(row: Hyperparameter) -> str:
    schema: dict[str, Any] = msgspec.json.schema(row.type)
    return kind_of(schema) + (', or `"auto"`' if row.auto else "")


def _default(row: Hyperparameter) -> str:
    return code(msgspec.json.encode(row.default).decode())


def _meaning(row: Hyperparameter) -> str:
    return f"{row.description} Auto: {row.auto}." if row.auto else row.description
