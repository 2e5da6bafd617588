"""`NAME=VALUE` options."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import typer


def pairs_of(given: Iterable[str], option: str) -> dict[str, str]:
    """The pairs by name. Raises `typer.BadParameter` for one without `=` or without a name."""
    pairs: dict[str, str] = {}
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise typer.BadParameter(f"{option} {pair!r} must be NAME=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def hyperparameters_of(given: Iterable[str]) -> dict[str, Any]:
    """Hyperparameters by name: numbers and true or false as such, everything else as text."""
    return {name: _value(text) for name, text in pairs_of(given, "--hyperparameter").items()}


def limits_of(given: Iterable[str]) -> dict[str, int | None]:
    """An account's limits by name: whole numbers, or None for `default`."""
    limits: dict[str, int | None] = {}
    for name, text in pairs_of(given, "--limit").items():
        if text != "default" and not text.isdigit():
            raise typer.BadParameter(f"--limit {name} is {text!r}: give a whole number, or default")
        limits[name] = None if text == "default" else int(text)
    return limits


def _value(text: str) -> Any:
    try:
        value = json.loads(text.lower() if text.lower() in {"true", "false", "null"} else text)
    except ValueError:
        return text
    return value
