"""What msgspec says of a value that is not as it should be, in words of JSON instead of Python's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec

TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
}
PATTERNS = {
    r"'^[^\\x00]*$'": "without NUL characters",
    r"'^[^\\x00-\\x1f\\x7f]*$'": "without control characters",
}
LONGEST_SHOWN = 64


def in_words(name: str, error: msgspec.ValidationError | str, type: Any = None) -> str:
    """What is wrong with `name`, or a part of it; its `type` knows which words it takes."""
    said, _, place = str(error).partition(" - at ")
    return f"{name}{_path(place)}: {sentence(said, type)}"


def sentence(said: str, type: Any = None) -> str:
    """The same without the name and the place."""
    said = said.partition(" - at ")[0]
    if said.startswith("Invalid enum value"):
        shown = said.removeprefix("Invalid enum value ")
        shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"
        return f"value {shown} is none of {', '.join(map(str, _choices(type)))}"
    said = re.sub(r"`([a-z]+(?: \| [a-z]+)*)`", lambda match: _types(match[1]), said)
    said = re.sub(r"matching regex (.*)$", lambda match: _pattern(match[1]), said)
    return said[:1].lower() + said[1:]


def _types(names: str) -> str:
    """`int | null` as `an integer or null`."""
    return " or ".join(TYPES.get(name, f"`{name}`") for name in names.split(" | "))


def _pattern(given: str) -> str:
    return PATTERNS.get(given, f"that matches {given[1:-1]}")


def _path(place: str) -> str:
    """`$.limits.name` as `.limits.name`."""
    match = re.search(r"`\$(.*)`$", place)
    return match[1].replace("[...]", "") if match else ""


def _choices(type: Any) -> Iterator[Any]:
    """The words that a type takes, however deep inside of it they stand."""
    if get_origin(type) is Literal:
        yield from (each for each in get_args(type) if each is not None)
        return
    for inside in get_args(type):
        if not isinstance(inside, msgspec.Meta):
            yield from _choices(inside)
