"""What changed between two AsyncAPI documents, and what of it breaks those who read or write today."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

ADVICE = "keep what was released, and give the new form a new type (.v2) with an upcaster from the old one"


class Change(Struct, frozen=True):
    """One change, and whether it breaks somebody."""

    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"breaking: {self.what}; {ADVICE}" if self.breaking else f"changed: {self.what}"


def changes(released: dict[str, Any], today: dict[str, Any]) -> list[Change]:
    """Every change, in the order of the document."""
    return list(_changes(released, today))


def _changes(released: dict[str, Any], today: dict[str, Any]) -> Iterator[Change]:
    for name, channel in released["channels"].items():
        now = today["channels"].get(name)
        if now is None:
            yield Change(f"channel {name} is gone", True)
            continue
        if now["address"] != channel["address"]:
            yield Change(f"channel {name} is now at {now['address']}", True)
        for message in channel["messages"].keys() - now["messages"].keys():
            yield Change(f"message {message} is gone from {name}", True)
    yield from _added("channel", released["channels"], today["channels"])
    yield from _added("message", released["components"]["messages"], today["components"]["messages"])
    for name, message in released["components"]["messages"].items():
        now = today["components"]["messages"].get(name)
        if now is None:
            continue
        yield from _compared(f"headers of {name}", message["headers"], now["headers"], released, today, ())
        yield from _compared(name, message["payload"], now["payload"], released, today, ())


def _added(kind: str, released: dict[str, Any], today: dict[str, Any]) -> Iterator[Change]:
    for name in today:
        if name not in released:
            yield Change(f"{kind} {name} is new", False)


def _compared(
    place: str,
    before: dict[str, Any],
    now: dict[str, Any],
    released: dict[str, Any],
    today: dict[str, Any],
    inside: tuple[str, ...],
) -> Iterator[Change]:
    """Two schemas of one place, references followed; `inside` are the references it lies in."""
    reference = before.get("$ref", "")
    if reference and reference in inside:
        return
    before, now = _resolved(before, released), _resolved(now, today)
    inside = (*inside, reference)
    if _kind(before) != _kind(now):
        yield Change(f"{place} was {_kind(before)} and is {_kind(now)}", True)
        return
    for one in set(before.get("enum", ())) - set(now.get("enum", ())):
        yield Change(f"{place} can no longer be {one!r}", True)
    fields, fields_now = before.get("properties", {}), now.get("properties", {})
    for name, field in fields.items():
        if name not in fields_now:
            yield Change(f"{place}.{name} is gone", True)
        else:
            yield from _compared(f"{place}.{name}", field, fields_now[name], released, today, inside)
    for name in fields_now:
        if name not in fields:
            required = name in now.get("required", ())
            yield Change(f"{place}.{name} is new" + (" and has no default" if required else ""), required)
        elif name in now.get("required", ()) and name not in before.get("required", ()):
            yield Change(f"{place}.{name} had a default and has none now", True)
    for part in ("items", "additionalProperties"):
        if isinstance(before.get(part), dict) and isinstance(now.get(part), dict):
            yield from _compared(f"{place}[]", before[part], now[part], released, today, inside)
    choices, choices_now = before.get("anyOf", []), now.get("anyOf", [])
    for one, other in zip(choices, choices_now, strict=False):
        yield from _compared(place, one, other, released, today, inside)


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
