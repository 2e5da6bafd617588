"""How what is wrong with a value is told."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

NO_SUCH_WORD = "invalid enum value"


def in_words(said: str, kind: Any) -> str:
    """What msgspec said of a value of this type, and where only some words will do, which those are."""
    said = f"{said[:1].lower()}{said[1:]}"
    words = literals(kind) if said.startswith(NO_SUCH_WORD) and "`$" not in said else []
    return f"{said.removeprefix('invalid enum ')} is none of {', '.join(words)}" if words else said


def literals(kind: Any) -> list[str]:
    """The words that a type allows, at any depth of it."""
    if get_origin(kind) is Literal:
        return [str(each) for each in get_args(kind)]
    return [word for part in get_args(kind) for word in literals(part)]
