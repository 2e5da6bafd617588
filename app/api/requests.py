"""Requests read whole: every fault of a body or query at once, none of it trusted."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import islice
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter
from msgspec import UNSET, Struct
from msgspec.structs import FieldInfo

from app.api.errors import MOST_FAULTS, ApiError, invalid
from app.api.schemas.errors import RequestFault
from app.domain.wording import in_words

LARGEST_JSON_BYTES = 1024**2
BODY_WITHIN = 30.0
LONGEST_NUMBER = 18
EXACT = 2**53  # from there on a float is not every whole number
NOT_JSON = (msgspec.DecodeError, RecursionError, ValueError)

NO_NUL = r"^[^\x00]*$"

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many at most.")]
After = Annotated[
    str | None,
    QueryParameter(
        max_length=256, pattern=NO_NUL, description="Id of the last row of the page before: go on behind it."
    ),
]
ForAccount = Annotated[
    str | None,
    QueryParameter(max_length=256, pattern=NO_NUL, description="Id of another account; for admins."),
]
Force = Annotated[
    bool, QueryParameter(description="Also when no admin key of the installation is left then.")
]


async def json_object(request: Request[Any, Any, Any]) -> tuple[dict[str, Any], str]:
    """The body as an object, and its SHA-256 in a canonical form. Raises `ApiError` 400, 413, 415."""
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(
            415, "unsupported_media_type", "send a JSON body with `Content-Type: application/json`"
        )
    content = await whole_body(request)
    try:
        body = msgspec.json.decode(content)
        json.loads(content, object_pairs_hook=_pairs)  # msgspec keeps the last of two fields of one name
        digest = hashlib.sha256(_canonical(body)).hexdigest()
    except NOT_JSON as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_json", "the body must be a JSON object")
    return body, digest


async def optional_object(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The body as an object, empty where there is none. Raises `ApiError` 400, 408, 413, 415."""
    return (await json_object(request))[0] if await whole_body(request) else {}


async def whole_body(request: Request[Any, Any, Any]) -> bytes:
    """A body of a bounded size, which the request gives again to who reads it later.

    Raises `ApiError` 408, 413.
    """
    try:
        async with asyncio.timeout(BODY_WITHIN):
            request._body = await _content(request)
    except TimeoutError as error:
        raise ApiError(408, "request_too_slow", f"a JSON body must come within {BODY_WITHIN:g} s") from error
    return request._body


async def _content(request: Request[Any, Any, Any]) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_JSON_BYTES:
            raise ApiError(413, "body_too_large", f"a JSON body may have {LARGEST_JSON_BYTES} bytes")
    return bytes(content)


def _pairs(pairs: list[tuple[str, Any]]) -> None:
    """Raises `ValueError` for an object with a name twice: what is meant by it nobody knows."""
    if len({name for name, _ in pairs}) < len(pairs):
        seen = set[str]()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice[:64]!r} is there twice in one object")


def canonical(content: bytes) -> bytes:
    """A body in the form in which two that mean the same are the same, if it is JSON."""
    try:
        return _canonical(msgspec.json.decode(content))
    except NOT_JSON:
        return content


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()  # msgspec would not write an integer beyond 64 bits


@cache
def _fields(kind: type[Struct]) -> dict[str, FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(kind)}


def read_fields(kind: type[Struct], body: Mapping[str, Any]) -> tuple[dict[str, Any], list[RequestFault]]:
    """A struct's fields out of an object, and all that is wrong with them."""
    values: dict[str, Any] = {}
    fields = _fields(kind)
    known = ", ".join(fields)
    unknown = (name for name in body if name not in fields)
    faults = [
        RequestFault(name[:64], f"{name[:64]!r} is not known; known are {known}", "unknown_field")
        for name in islice(unknown, MOST_FAULTS)
    ]
    for name, field in fields.items():
        value = body.get(name, UNSET)
        if value is UNSET:
            if field.required:
                faults.append(RequestFault(name, f"{name} is required", "missing_field"))
            continue
        try:
            values[name] = _converted(value, field.type)
        except msgspec.ValidationError as error:
            faults.append(RequestFault(name, in_words(name, error, field.type)))
    return values, faults


def _converted(value: Any, kind: Any) -> Any:
    """A field's value; a whole number may be written `1.0`, which is an integer in JSON Schema.

    Raises `msgspec.ValidationError`.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        return msgspec.convert(_whole(value), kind, strict=True)


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < EXACT:
            return int(value)
        case dict():
            return {name: _whole(each) for name, each in value.items()}
        case list():
            return [_whole(each) for each in value]
    return value


def plain_query(pairs: Iterable[tuple[str, str]], handler: BaseRouteHandler) -> None:
    """Refuse parameters that are given twice, or as `null`, which the framework takes for none at all.

    Raises `ApiError` 400.
    """
    taken = handler.parsed_fn_signature.parameters
    faults: list[RequestFault] = []
    seen = set[str]()
    for name, value in pairs:
        if (parameter := taken.get(name)) is None or parameter.is_non_string_sequence:
            continue
        if name in seen:
            faults.append(RequestFault(name, f"{name} is there twice"))
        elif value.lower() == "null":
            faults.append(RequestFault(name, f"{name} cannot be null; leave it out"))
        seen.add(name)
    if faults:
        raise invalid(faults)


def is_count(text: str) -> bool:
    """Whether a query's text is a whole number of a length that a computer likes."""
    return text.isdecimal() and len(text) <= LONGEST_NUMBER
