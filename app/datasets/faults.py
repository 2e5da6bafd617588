"""One thing wrong in a row, and how values and places are named in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from msgspec import Struct

MOST_FAULTS = 10_000
LONGEST_SHOWN = 40
LONGEST_STEP = 64


class RowFault(Struct, frozen=True):
    """One thing wrong in a row: a stable code, a JSON pointer, a sentence, a fix. A warning stops nothing."""

    code: str
    pointer: str
    message: str
    fix: str = ""
    warning: bool = False


def told(found: Iterable[RowFault]) -> list[RowFault]:
    """The faults of one row, ten thousand of them at most; then it says that there are more."""
    faults = list(islice(found, MOST_FAULTS + 1))
    if len(faults) > MOST_FAULTS:
        said = f"the row has more than {MOST_FAULTS:,} faults; the others are not told"
        faults[-1] = RowFault("more_faults", "", said, "mend these and check again")
    return faults


def unused_fields(
    found: Mapping[str, Any], pointer: str, used: Collection[str], read_as: str
) -> Iterator[RowFault]:
    """A warning for each field of an object that nothing uses, as it is read as something that has none."""
    if all(key in used for key in found):
        return
    for key, value in found.items():
        if key not in used and value is not None:
            said = f"{shown(key)} is not used: this is read as {read_as}"
            yield RowFault("unused_field", at(pointer, key), said, "remove it", warning=True)


def at(pointer: str, key: str | int) -> str:
    """The pointer one step deeper; of a key without end only the beginning."""
    step = shown_text(str(key), LONGEST_STEP).replace("~", "~0").replace("/", "~1")
    if not step.isascii():
        step = step.encode(errors="replace").decode()  # half of a surrogate pair can be written nowhere
    return f"{pointer}/{step}"


def kind_of(value: Any) -> str:
    """How JSON calls a value."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def shown(value: Any) -> str:
    """A value, short enough for a sentence."""
    if isinstance(value, (dict, list)):
        return kind_of(value)
    return shown_text(repr(value[: LONGEST_SHOWN + 1] if isinstance(value, str) else value), LONGEST_SHOWN)


def shown_text(text: str, longest: int) -> str:
    """A text, cut to `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
