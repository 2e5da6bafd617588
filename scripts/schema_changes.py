"""What changed between two JSON schemas, and what of it breaks those who read or write by them today."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

BOUNDS = {
    "minimum": 1,
    "exclusiveMinimum": 1,
    "minLength": 1,
    "minItems": 1,
    "maximum": -1,
    "exclusiveMaximum": -1,
    "maxLength": -1,
    "maxItems": -1,
    "maxProperties": -1,
}


class Change(Struct, frozen=True):
    """One change, and whether it breaks somebody."""

    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"{'breaking' if self.breaking else 'changed'}: {self.what}"


class Place(Struct, frozen=True):
    """Where two schemas stand: the documents that their references lead into, and who writes what they tell.

    `given` by others, a value may be asked for no more than before; told to them, it may get new fields.
    `inside` are the references that it lies in.
    """

    name: str
    released: dict[str, Any]
    today: dict[str, Any]
    given: bool = True
    told: bool = True
    inside: tuple[str, ...] = ()

    def at(self, name: str, inside: tuple[str, ...]) -> Place:
        """A place in this one."""
        return Place(name, self.released, self.today, self.given, self.told, inside)


def compared(place: Place, before: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    """Every change between two schemas of one place, references followed."""
    reference = before.get("$ref", "")
    if reference and reference in place.inside:
        return
    before, now = _resolved(before, place.released), _resolved(now, place.today)
    inside = (*place.inside, reference)
    name = place.name
    if _kind(before) != _kind(now):
        yield Change(f"{name} was {_kind(before)} and is {_kind(now)}", True)
        return
    if place.given:
        for one in set(before.get("enum", ())) - set(now.get("enum", ())):
            yield Change(f"{name} can no longer be {one!r}", True)
        yield from _narrowed(name, before, now)
    fields, fields_now = before.get("properties", {}), now.get("properties", {})
    for key, field in fields.items():
        if key not in fields_now:
            yield Change(f"{name}.{key} is gone", True)
        else:
            yield from compared(place.at(f"{name}.{key}", inside), field, fields_now[key])
    for key in fields_now:
        if key not in fields:
            required = place.given and key in now.get("required", ())
            yield Change(f"{name}.{key} is new" + (" and has no default" if required else ""), required)
        elif place.given and key in now.get("required", ()) and key not in before.get("required", ()):
            yield Change(f"{name}.{key} had a default and has none now", True)
    for part in ("items", "additionalProperties"):
        if isinstance(before.get(part), dict) and isinstance(now.get(part), dict):
            yield from compared(place.at(f"{name}[]", inside), before[part], now[part])
    choices, choices_now = before.get("anyOf", []), now.get("anyOf", [])
    for one, other in zip(choices, choices_now, strict=False):
        yield from compared(place.at(name, inside), one, other)


def _narrowed(name: str, before: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    """Bounds that leave out what was taken."""
    for bound, sign in BOUNDS.items():
        if bound in now and (bound not in before or sign * now[bound] > sign * before[bound]):
            was = f"was {before[bound]}" if bound in before else "was none"
            yield Change(f"{name}'s {bound} {was} and is {now[bound]}", True)


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _kind(schema: dict[str, Any]) -> str:
    """What a schema takes, roughly, in a word or two."""
    if "anyOf" in schema:
        return " or ".join(sorted(_kind(one) for one in schema["anyOf"]))
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return "one of some values"
    return str(schema.get("type", "anything")) + (f" ({schema['format']})" if "format" in schema else "")
