"""What changed between two AsyncAPI documents, and what of it breaks those who read or write today."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scripts.schema_changes import Change, Place, compared

ADVICE = "keep what was released, and give the new form a new type (.v2) with an upcaster from the old one"


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
        place = Place(name, released, today)
        yield from compared(place.at(f"headers of {name}", ()), message["headers"], now["headers"])
        yield from compared(place, message["payload"], now["payload"])


def _added(kind: str, released: dict[str, Any], today: dict[str, Any]) -> Iterator[Change]:
    for name in today:
        if name not in released:
            yield Change(f"{kind} {name} is new", False)
