"""A line's JSON, held to what every reader understands alike: no key twice, no NaN, no NUL, not too deep."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import chain, starmap
from typing import Any

from app.datasets.faults import RowFault, at, shown, told

DEEPEST = 100
LONGEST_READ = 64 * 1024  # of a line that is no JSON, for a fix
CLOSING = {"{": "}", "[": "]"}
# Strings, and brackets outside of them.
OUTSIDE = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|$)|[\[\]{}]', re.DOTALL)


class _Pairs(list[tuple[str, Any]]):
    """An object as it is written, with the keys that it has twice."""


def decode(text: str) -> tuple[bool, Any, list[RowFault]]:
    """Whether a line is JSON, what it says, and what is wrong with how it says so.

    What is nested too deep is left out of what it says; a number that JSON does not have is there as a float.
    """
    repeats = odd = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        made = dict(found)
        repeats = repeats or len(made) != len(found)
        return made

    def number(written: str) -> float:
        nonlocal odd
        read = float(written)
        if math.isfinite(read):
            return read
        odd = True
        return _Number(written)

    def read(text: str) -> Any:
        return json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=number)

    deep = False
    try:
        try:
            value = read(text)
            deep = text.count("{") + text.count("[") > DEEPEST and _too_deep(value)
        except RecursionError:
            deep = True
        if deep:
            repeats = odd = False
            text = _flattened(text)
            value = read(text)
    except json.JSONDecodeError as error:
        if deep:
            return False, None, [_deep_fault("")]
        said = f"the line is not JSON: {error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
        return False, None, [RowFault("not_json", "", said, _fix(text))]
    except ValueError:  # an integer of thousands of digits
        said = "the line has a number that is too long"
        return False, None, [RowFault("not_json", "", said, "write it as a string")]
    found: list[Iterator[RowFault]] = []
    if deep:
        found.append(_deep_faults(value))
    if odd:
        found.append(_not_finite(value, ""))
    if repeats:
        found.append(starmap(_repeat, _repeated(json.loads(text, object_pairs_hook=_Pairs), "")))
    if "\\u" in text:  # neither a NUL nor half of a surrogate pair can stand there otherwise
        found.append(_odd_letters(value, ""))
    return True, value, told(chain.from_iterable(found))


class _Number(float):
    """A number that JSON does not have, and how it is written."""

    def __init__(self, written: str) -> None:
        self.written = written[:40]


def _not_finite(value: Any, pointer: str) -> Iterator[RowFault]:
    if isinstance(value, _Number):
        said = f"JSON has no number {value.written}"
        yield RowFault("not_finite", pointer, said, "write a number, null, or a string")
    for key, inner in _inner(value):
        yield from _not_finite(inner, at(pointer, key))


def _repeated(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Pointer and name of each key that an object has more than once."""
    if isinstance(value, _Pairs):
        names: set[str] = set()
        told: set[str] = set()
        for key, _ in value:
            if key in names and key not in told:
                told.add(key)
                yield at(pointer, key), key
            names.add(key)
    for step, inner in _inner(value):
        yield from _repeated(inner, at(pointer, step))


def _repeat(pointer: str, key: str) -> RowFault:
    said = f"the object has the key {shown(key)} more than once"
    return RowFault("duplicate_key", pointer, said, "keep one of them")


def _odd_letters(value: Any, pointer: str) -> Iterator[RowFault]:
    """Strings that no tokenizer or database takes."""
    if isinstance(value, str):
        yield from _odd(value, pointer)
        return
    for step, inner in _inner(value):
        if isinstance(step, str):
            yield from _odd(step, pointer)
        yield from _odd_letters(inner, at(pointer, step))


def _odd(text: str, pointer: str) -> Iterator[RowFault]:
    if "\0" in text:
        said = "the text holds a NUL character"
        yield RowFault("nul_character", pointer, said, r"remove \u0000")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            said = f"the text holds half of a surrogate pair, \\u{ord(text[error.start]):04x}"
            yield RowFault("lone_surrogate", pointer, said, "write both halves, or remove it")


def _inner(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, _Pairs):
        yield from value
    elif isinstance(value, list):
        yield from enumerate(value)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for one in level for _, inner in _inner(one)]
        if not level:
            return False
    return any(isinstance(one, (dict, list)) for one in level)


def _brackets(text: str) -> Iterator[tuple[int, str]]:
    """Where objects and lists begin and end. A string that does not end hides what is behind it."""
    for found in OUTSIDE.finditer(text):
        if found[0][0] != '"':
            yield found.start(), found[0]


def _flattened(text: str) -> str:
    """The text with everything left out that stands in the first object or list that is too deep."""
    kept, done, deep = [], 0, 0
    for place, bracket in _brackets(text):
        if bracket in "{[":
            deep += 1
            if deep == DEEPEST + 1:
                kept.append(text[done : place + 1])
                done = len(text)
        else:
            if deep == DEEPEST + 1:
                done = place
            deep -= 1
    return "".join((*kept, text[done:]))


def _deep_faults(value: Any) -> Iterator[RowFault]:
    level = [("", value)]
    for _ in range(DEEPEST):
        level = [(at(place, step), inner) for place, one in level for step, inner in _inner(one)]
    return (_deep_fault(place) for place, one in level if isinstance(one, (dict, list)))


def _deep_fault(pointer: str) -> RowFault:
    return RowFault("too_deep", pointer, f"the JSON is nested more than {DEEPEST} deep", "flatten the row")


def _unclosed(text: str) -> str:
    """What would close the string and brackets that a text opens; empty where that cannot be told."""
    ends: list[str] = []
    for found in OUTSIDE.finditer(text if len(text) <= LONGEST_READ else ""):
        token = found[0]
        if token in CLOSING:
            ends.append(CLOSING[token])
        elif token[0] == '"' and (len(token) == 1 or token[-1] != '"'):
            ends.append('"')
        elif token[0] != '"' and (not ends or ends.pop() != token):
            return ""
    return "".join(reversed(ends))


def _fix(text: str) -> str:
    if text.startswith("{'"):
        return "use double quotes around keys and strings"
    if text.endswith(","):
        return "remove the comma at the end of the line"
    if text.startswith("{") and (lacking := _unclosed(text)):
        return f"write `{lacking}` at the end of the line; the whole object stands on one line"
    return "write one JSON object per line"
