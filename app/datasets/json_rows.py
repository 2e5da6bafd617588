"""A line's JSON, held to what every reader understands alike: no key twice, no NaN, no NUL, not too deep."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from app.datasets.faults import RowFault, at, shown

DEEPEST = 100
LONGEST_READ = 64 * 1024  # of a line that is no JSON, for a fix
CLOSING = {"{": "}", "[": "]"}
OUTSIDE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)|[][{}]')  # strings, and brackets outside of them


class _Pairs(list[tuple[str, Any]]):
    """An object as it is written, with the keys that it has twice."""


def decode(text: str) -> tuple[bool, Any, list[RowFault]]:
    """Whether a line is JSON, what it says, and what is wrong with how it says so."""
    faults: list[RowFault] = []
    repeats = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        made = dict(found)
        repeats = repeats or len(made) != len(found)
        return made

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_float=_finite, parse_constant=_constant)
        deep = text.count("{") + text.count("[") > DEEPEST and _too_deep(value)
    except RecursionError:
        return False, None, [_deep_fault()]
    except _NotFiniteError as error:
        return False, None, [_not_finite(text, error)]
    except json.JSONDecodeError as error:
        said = f"the line is not JSON: {error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
        return False, None, [RowFault("not_json", "", said, _fix(text))]
    except ValueError:  # an integer of thousands of digits
        said = "the line has a number that is too long"
        return False, None, [RowFault("not_json", "", said, "write it as a string")]
    if deep:
        return False, None, [_deep_fault()]
    if repeats:
        written = json.loads(text, object_pairs_hook=_Pairs)
        faults += (_repeat(*found) for found in _repeated(written, ""))
    if "\\u" in text:  # neither a NUL nor half of a surrogate pair can stand there otherwise
        faults += _odd_letters(value, "")
    return True, value, faults


class _NotFiniteError(ValueError):
    """A number that JSON does not have."""


def _constant(name: str) -> Any:
    raise _NotFiniteError(name)


def _finite(written: str) -> float:
    number = float(written)
    if math.isinf(number):
        raise _NotFiniteError(written[:40])
    return number


def _not_finite(text: str, error: _NotFiniteError) -> RowFault:
    """The fault with its place, for which the line is read once more."""
    try:
        written = json.loads(text, object_pairs_hook=_Pairs)
        pointer = next(_where_not_finite(written, ""), "")
    except (ValueError, RecursionError):
        pointer = ""
    fix = "write a number, null, or a string"
    return RowFault("not_finite", pointer, f"JSON has no number {error}", fix)


def _where_not_finite(value: Any, pointer: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield pointer
    for key, inner in _inner(value):
        yield from _where_not_finite(inner, at(pointer, key))


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


def _deep_fault() -> RowFault:
    return RowFault("too_deep", "", f"the JSON is nested more than {DEEPEST} deep", "flatten the row")


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
