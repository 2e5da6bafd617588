"""Hyperparameters as a request gives them: an object whose every field the one table describes.

It is read as a plain object, so that all its faults can be told at once, and not only the first.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.domain.hyperparameters import TABLE, Hyperparameter


def _schema(row: Hyperparameter) -> dict[str, Any]:
    """A field of the request: what the table says, `"auto"` where it is taken, and null for not given."""
    schema = msgspec.json.schema(row.type)
    del schema["description"]
    choices = schema.get("anyOf", [schema])
    if row.auto is not None:
        choices = [*choices, {"enum": ["auto"]}]
    if {"type": "null"} not in choices:
        choices = [*choices, {"type": "null"}]
    derived = f" `auto`: {row.auto}." if row.auto else ""
    return {"description": f"{row.description}{derived}", "anyOf": choices, "default": row.default}


FIELDS = {name: _schema(row) for name, row in TABLE.items()}
OLDER = {
    name: {
        "description": f"The same fields, as older clients nest them under `{name}`.",
        "type": ["object", "null"],
        "propertyNames": {"enum": list(FIELDS)},
        "additionalProperties": True,
    }
    for name in ("lora", "training")
}
Given = Annotated[
    dict[str, Any],
    Meta(extra_json_schema={"properties": FIELDS | OLDER, "additionalProperties": False}),
]
