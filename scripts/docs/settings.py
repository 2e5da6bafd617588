"""`settings.md`: every setting of the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from app.settings import Settings
from scripts.docs.markdown import code, page, table

INTRODUCTION = """\
Every setting of `tunesmith-server` is an environment variable. `tunesmith-server settings` prints them with
the values that hold where it is run; secrets it does not print. [Run it in
production](../guide/operators.md) says which of them an installation needs."""


def text() -> str:
    """The page."""
    rows = []
    for field in msgspec.structs.fields(Settings):
        schema = msgspec.json.schema(field.type, schema_hook=_path)
        name, default = f"TUNESMITH_{field.name.upper()}", _default(field.name, field.default)
        rows.append((code(name), default, _bounds(schema), schema["description"]))
    return page(
        "Settings",
        "`app/settings.py`",
        INTRODUCTION,
        table(("variable", "default", "may be", "meaning"), rows),
    )


def _path(kind: type) -> dict[str, Any]:
    assert kind is Path
    return {"type": "string"}


def _default(name: str, value: Any) -> str:
    if name == "cache_dir":
        return "`~/.cache/tunesmith`"
    return "" if value in (None, "") else code(value)


def _bounds(schema: dict[str, Any]) -> str:
    if "pattern" in schema:
        return ", ".join(code(word) for word in schema["pattern"].strip("^$()").split("|"))
    kinds = [each["type"] for each in schema.get("anyOf", [schema]) if each["type"] != "null"]
    told = ["a whole number" if kind == "integer" else f"a {kind}" for kind in kinds]
    for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤")):
        if key in schema:
            told.append(f"{sign} {schema[key]}")
    return ", ".join(told)
