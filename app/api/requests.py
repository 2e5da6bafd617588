"""Requests read whole: every fault of a body or query at once, none of it trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import msgspec
from litestar import Request
from msgspec import UNSET, Meta, Struct
from msgspec.structs import FieldInfo

from app.api.errors import ApiError, Fault, invalid

LARGEST_JSON_BYTES = 1024**2
LONGEST_NUMBER = 18

Text = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
MetadataValue = Annotated[str, Meta(max_length=512, pattern=r"^[^\x00]*$")]


class TuningRequest(Struct, frozen=True, kw_only=True):
    """The body of `tunings.create`."""

    model: Annotated[Text, Meta(description="Id of a base model, from /v1/models.")]
    training_file: Annotated[Text, Meta(description="Id of an uploaded file.")]
    validation_file: Annotated[Text | None, Meta(description="Id of another, for the loss per epoch.")] = None
    hyperparameters: Annotated[
        dict[str, Any] | None, Meta(description="What to set; the rest is chosen.")
    ] = None
    method: Annotated[str, Meta(pattern="^supervised$", description="How to train.")] = "supervised"
    suffix: Annotated[
        Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] | None,
        Meta(description="Part of the tuned model's name."),
    ] = None
    metadata: Annotated[
        Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None,
        Meta(description="Up to 16 pairs of your own."),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2**31 - 1)] | None, Meta(description="For a run that can be repeated.")
    ] = None
    priority: Annotated[int, Meta(ge=-100, le=100, description="Higher starts first.")] = 0


class Page(Struct, frozen=True):
    """Which part of a list: at most `limit` rows, behind the row with the id `after`."""

    limit: int
    after: str | None


async def json_object(request: Request[Any, Any, Any]) -> tuple[dict[str, Any], str]:
    """The body as an object, and its SHA-256 in a canonical form. Raises `ApiError` 400, 413, 415."""
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(
            415, "unsupported_media_type", "send a JSON body with `Content-Type: application/json`"
        )
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_JSON_BYTES:
            raise ApiError(413, "body_too_large", f"a JSON body may have {LARGEST_JSON_BYTES} bytes")
    try:
        body = msgspec.json.decode(bytes(content))
        canonical = json.dumps(body, sort_keys=True)  # msgspec would not write an integer beyond 64 bits
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_json", "the body must be a JSON object")
    return body, hashlib.sha256(canonical.encode()).hexdigest()


@cache
def _fields(kind: type[Struct]) -> dict[str, FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(kind)}


def read_fields(kind: type[Struct], body: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """A struct's fields out of an object, and all that is wrong with them."""
    values: dict[str, Any] = {}
    fields = _fields(kind)
    known = ", ".join(fields)
    faults = [
        Fault(name[:64], f"{name[:64]!r} is not known; known are {known}", "unknown_field")
        for name in body
        if name not in fields
    ]
    for name, field in fields.items():
        value = body.get(name, UNSET)
        if value is UNSET:
            if field.required:
                faults.append(Fault(name, f"{name} is required", "missing_field"))
            continue
        try:
            values[name] = msgspec.convert(value, field.type, strict=True)
        except msgspec.ValidationError as error:
            faults.append(Fault(name, f"{name}: {str(error)[0].lower()}{str(error)[1:]}"))
    return values, faults


def is_count(text: str) -> bool:
    """Whether a query's text is a whole number of a length that a computer likes."""
    return text.isdecimal() and len(text) <= LONGEST_NUMBER


def page_of(query: Mapping[str, Any], *, largest: int = 100) -> Page:
    """`limit` and `after` out of the query. Raises `ApiError` 400."""
    text = query.get("limit", "20")
    if not is_count(text) or not 1 <= int(text) <= largest:
        raise invalid([Fault("limit", f"limit must be a whole number from 1 to {largest}")])
    after = query.get("after")
    if after is not None and (len(after) > 256 or "\x00" in after):
        raise invalid([Fault("after", "after must be the id of a row of an earlier page")])
    return Page(int(text), after)
