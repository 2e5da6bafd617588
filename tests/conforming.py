"""Answers held against the OpenAPI document: what it does not tell may not come."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import msgspec

from app.api.app import routed
from app.api.openapi import document

Document = dict[str, Any]
OF_HTTP = {"date", "connection", "content-type", "content-length", "transfer-encoding"}


@cache
def _document() -> Document:
    return document(routed())


@cache
def _patterns() -> list[tuple[re.Pattern[str], Document]]:
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), item)
        for path, item in _document()["paths"].items()
    ]


def operation_of(method: str, path: str) -> Document | None:
    """The operation that the document has for a request."""
    for pattern, item in _patterns():
        if pattern.fullmatch(path):
            found: Document | None = item.get(method.lower())
            return found
    return None


@cache
def _response(operation_id: str, status: str) -> Document:
    for item in _document()["paths"].values():
        for operation in item.values():
            if operation["operationId"] == operation_id:
                response: Document = operation["responses"][status]
                if "$ref" in response:
                    response = _document()["components"]["responses"][response["$ref"].rpartition("/")[2]]
                return response
    raise AssertionError(operation_id)


@cache
def _validator(operation_id: str, status: str) -> Any:
    schema = _response(operation_id, status).get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return None
    return jsonschema.Draft202012Validator(schema | {"components": _document()["components"]})


async def conforms(answer: httpx.Response) -> None:
    """An httpx hook: fail when an answer's status, headers, body or code is not as the document says."""
    operation = operation_of(answer.request.method, answer.request.url.path)
    if operation is None:  # no such route, or no such method of it
        assert answer.status_code in (404, 405) or not answer.request.url.path.startswith("/v1/"), answer
        return
    told, status = operation["operationId"], str(answer.status_code)
    assert status in operation["responses"], f"{told} does not tell of {status}"
    response = _response(told, status)
    silent = answer.headers.keys() - response["headers"].keys() - OF_HTTP
    assert not silent, f"{told} does not tell of {silent} with {status}"
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return
    validator = _validator(told, status)
    assert validator is not None, f"{told} does not tell of a JSON body with {status}"
    await answer.aread()
    body = msgspec.json.decode(answer.content)
    fault = next(iter(validator.iter_errors(body)), None)
    assert fault is None, f"{told}, {status}: {fault}"
    if "x-codes" in response:
        codes = {body["error"]["code"], *(each["code"] for each in body["error"].get("errors", ()))}
        untold = codes - set(response["x-codes"])
        assert not untold, f"{told} does not tell of {untold} with {status}: see `on` in app/api/errors.toml"
