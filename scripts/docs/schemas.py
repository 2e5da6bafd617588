"""JSON schemas in words."""

from __future__ import annotations

from typing import Any

import msgspec

from scripts.docs.markdown import anchor, code, table, words

ANY_TEXT = r"^[^\x00]*$"  # no NUL: said once for all texts, in the page's introduction
BOUNDS = (
    ("minimum", "≥"),
    ("exclusiveMinimum", ">"),
    ("maximum", "≤"),
    ("exclusiveMaximum", "<"),
)


def kind_of(schema: dict[str, Any]) -> str:
    """What a value may be: its type, bounds and choices."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{title_of(name)}](#{anchor(title_of(name))})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(kind_of(choice) for choice in schema[key])
    if "enum" in schema:
        return words(_json(choice) for choice in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {kind_of(schema.get('items', {}))}{_counts(schema, 'Items')}"
        case "string":
            return _string(schema)
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {kind_of(schema['additionalProperties'])}{_counts(schema, 'Properties')}"
        case "integer" | "number" | "boolean" | "null" | "object" as name:
            bounds = [f"{sign} {_number(schema[key])}" for key, sign in BOUNDS if key in schema]
            return ", ".join([name, *bounds])
        case list(several):
            return " or ".join(several)
    return "object" if "properties" in schema else "anything"


def _string(schema: dict[str, Any]) -> str:
    if schema.get("format") == "binary":
        return "bytes"
    told = f"string{_counts(schema, 'Length', ' characters')}"
    pattern = schema.get("pattern")
    return told if pattern in (None, ANY_TEXT) else f"{told}, {code(pattern)}"


def _counts(schema: dict[str, Any], noun: str, unit: str = "") -> str:
    least, most = schema.get(f"min{noun}"), schema.get(f"max{noun}")
    if least and most:
        return f", {_number(least)} to {_number(most)}{unit}"
    if most is not None:
        return f", at most {_number(most)}{unit}"
    return f", at least {_number(least)}{unit}" if least else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def title_of(name: str) -> str:
    """How a schema is called: `Page of TuningJob`."""
    head, _, of = name.partition("_")
    return f"{head} of {of.strip('_')}" if of else head


def fields(schema: dict[str, Any], *, answered: bool = False) -> str:
    """The fields of an object as a table; those inside a field without a name of its own follow it."""
    head = ("field", "type", "meaning") if answered else ("field", "type", "default", "meaning")
    return table(head, _rows(schema, "", answered=answered))


def _rows(schema: dict[str, Any], prefix: str, *, answered: bool) -> list[tuple[str, ...]]:
    required = schema.get("required", [])
    rows: list[tuple[str, ...]] = []
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else _default(field)
        middle = () if answered else (default,)
        rows.append((code(prefix + name), kind_of(field), *middle, field.get("description", "")))
        for choice in field.get("anyOf", [field]):
            if "properties" in choice:
                rows += _rows(choice, f"{prefix}{name}.", answered=answered)
    return rows


def _default(field: dict[str, Any]) -> str:
    return code(_json(field["default"])) if "default" in field else ""
