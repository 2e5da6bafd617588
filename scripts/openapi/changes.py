"""What changed between two OpenAPI documents, and what of it breaks clients of today."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scripts.schema_changes import Change, Place, compared

ADVICE = "what was released only grows: keep the old form beside the new one"

Document = dict[str, Any]


def changes(released: Document, today: Document) -> list[Change]:
    """Every change, in the order of the document."""
    return list(_changes(released, today))


def _changes(released: Document, today: Document) -> Iterator[Change]:
    before, now = _operations(released), _operations(today)
    for name in now.keys() - before.keys():
        yield Change(f"{name} is new", False)
    for name, operation in before.items():
        if name not in now:
            yield Change(f"{name} is gone", True)
        else:
            yield from _operation(Place(name, released, today), operation, now[name])


def _operations(document: Document) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _operation(place: Place, before: Document, now: Document) -> Iterator[Change]:
    if before["operationId"] != now["operationId"]:
        yield Change(f"{place.name} is now called {now['operationId']}", True)
    if not before["security"] and now["security"]:
        yield Change(f"{place.name} asks for a key now", True)
    asked = Place(place.name, place.released, place.today, told=False)
    given, given_now = _parameters(before), _parameters(now)
    for name, parameter in given.items():
        if name not in given_now:
            yield Change(f"{place.name}: {name} is gone", True)
        else:
            where = asked.at(f"{place.name}: {name}", ())
            yield from compared(where, parameter["schema"], given_now[name]["schema"])
    for name in given_now.keys() - given.keys():
        required = given_now[name].get("required", False)
        yield Change(f"{place.name}: {name} is new" + (" and required" if required else ""), required)
    body, body_now = _schema(before.get("requestBody")), _schema(now.get("requestBody"))
    if body is not None and body_now is not None:
        yield from compared(asked.at(f"{place.name}: body", ()), body, body_now)
    elif body is not body_now:
        yield Change(f"{place.name}: the body is {'new' if body is None else 'gone'}", True)
    answered = Place(place.name, place.released, place.today, given=False)
    for status, response in before["responses"].items():
        if status not in now["responses"]:
            yield Change(f"{place.name} no longer answers {status}", int(status) < 400)
            continue
        schema, schema_now = _schema(response), _schema(now["responses"][status])  # errors never change
        if schema is not None and schema_now is not None:
            yield from compared(answered.at(f"{place.name}: {status}", ()), schema, schema_now)


def _parameters(operation: Document) -> dict[str, Any]:
    return {f"{each['in']} {each['name']}": each for each in operation.get("parameters", ())}


def _schema(part: Document | None) -> Document | None:
    """The schema of a body or answer, of whatever media type."""
    for content in (part or {}).get("content", {}).values():
        schema: Document | None = content.get("schema")
        return schema
    return None
