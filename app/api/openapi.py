"""The OpenAPI 3.1 document: Litestar's routes and parameters, msgspec's schemas, our errors.

Litestar loses bounds inside unions and whatever a raw request takes, so every schema comes from msgspec,
which reads and writes the bodies, and the errors from what a route is: with a key, a body, an id, a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from app.api.schemas.errors import ErrorBody
from app.api.schemas.form import FORMS
from app.webhooks.payloads import WebhookPayload

REF = "#/components/schemas/{name}"
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeated with the same body, it is answered as the first time; with another, 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
BYTES = {"type": "string", "format": "binary"}
WAIT = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}


WEBHOOK = {
    "operationId": "receiveWebhook",
    "summary": "What a webhook's url is sent.",
    "description": "Signed as [Standard Webhooks](https://www.standardwebhooks.com) has it: verify it by the "
    "endpoint's secret first. It may come twice, with the same `webhook-id`, and in any order.",
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": description,
            "schema": {"type": "string"},
        }
        for name, description in (
            ("webhook-id", "The same for the same event, however often it is sent."),
            ("webhook-timestamp", "When this request was sent, in Unix seconds."),
            (
                "webhook-signature",
                "`v1,` and the signature in base64; after a rotation two of them, by a space.",
            ),
        )
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": REF.format(name="WebhookPayload")}}},
    },
    "responses": {
        "2XX": {"description": "It was received."},
        "410": {"description": "Nothing more is wanted: the endpoint is turned off."},
        "default": {"description": "It is sent again later, for three days."},
    },
    "tags": ["webhooks"],
    "security": [],
}


def document(app: Litestar) -> dict[str, Any]:
    """The whole document, as JSON takes it."""
    made: dict[str, Any] = app.openapi_schema.to_schema()
    kinds: list[Any] = [ErrorBody, WebhookPayload]
    statuses: set[int] = set()
    for path, method, handler in _operations(app):
        operation = made["paths"][path][method]
        kinds += [*_bodies(handler), *_answers(handler)]
        statuses |= _statuses(path, method, handler)
        _complete(operation, path, method, handler)
    _link(made["paths"])
    made["webhooks"] = {"event": {"post": WEBHOOK}}
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    made["components"] = {
        # Through JSON, which turns defaults that are tuples into lists.
        "schemas": msgspec.json.decode(msgspec.json.encode(schemas)),
        "responses": _errors(statuses),
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key, `sk-…`."}
        },
    }
    return made


def _operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if handler.include_in_schema is not False and handler.operation_id is not None:
                path = "/" + "/".join(
                    f"{{{part.name}}}" if not isinstance(part, str) else part
                    for part in route.path_components
                )
                for method in handler.http_methods:
                    if method != "OPTIONS":
                        yield path, method.lower(), handler


def _complete(operation: dict[str, Any], path: str, method: str, handler: HTTPRouteHandler) -> None:
    """Add to an operation what its handler says in `opt`, and every error that it can answer with."""
    operation["summary"], _, more = (handler.fn.__doc__ or "").strip().partition("\n")
    operation["description"] = f"{operation['summary']}{more}"
    operation["tags"] = [path.split("/")[2].partition(".")[0] if path.startswith("/v1/") else "operations"]
    for body in _bodies(handler):
        media = "multipart/form-data" if body in FORMS else "application/json"
        content = {"schema": _ref(body)}
        if (example := handler.opt.get("example")) is not None:
            content["example"] = example
        required = handler.opt.get("body_required", True)
        operation["requestBody"] = {"required": required, "content": {media: content}}
    parameters = [_parameter(each) for each in operation.get("parameters", [])]
    parameters += _deep(handler)
    if method == "post":
        parameters.append(IDEMPOTENCY_KEY)
    if parameters:
        operation["parameters"] = parameters
    scope = handler.opt["scope"]
    operation["security"] = [{"key": []}] if scope else []
    if scope:
        operation["description"] += f"\n\nThe key needs the scope `{scope}`."
    responses = {status: response for status, response in operation["responses"].items() if int(status) < 400}
    for status, response in responses.items():
        for content in response.get("content", {}).values():
            content["schema"] = content["schema"] or BYTES
            for answer in _answers(handler):
                content["schema"] = _ref(answer)
        response["description"] = HTTPStatus(int(status)).phrase
        if stream := handler.opt.get("stream"):
            response["content"]["text/event-stream"] = {"schema": {"type": "string", "description": stream}}
    for status in (*handler.opt.get("answers", ()),):
        responses[str(status)] = responses[str(handler.status_code)] | {
            "description": HTTPStatus(status).phrase
        }
    responses |= {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"}
        for status in _statuses(path, method, handler)
    }
    operation["responses"] = dict(sorted(responses.items()))


def _link(paths: dict[str, dict[str, Any]]) -> None:
    """Tell of each answer with something made which operations take its id."""
    takers: dict[str, dict[str, Any]] = {}
    for path, item in paths.items():
        names = re.findall(r"\{(\w+)\}", path)
        for operation in item.values():
            if len(names) == 1:
                link = {
                    "operationId": operation["operationId"],
                    "parameters": {names[0]: "$response.body#/id"},
                }
                takers.setdefault(operation["tags"][0], {})[operation["operationId"]] = link
    for path, item in paths.items():
        made = item.get("post", {}).get("responses", {}).get("201")
        if made is not None and "{" not in path:
            made["links"] = takers.get(item["post"]["tags"][0], {})


def _deep(handler: HTTPRouteHandler) -> list[dict[str, Any]]:
    """Parameters of the form `name[key]=value`, of which the framework knows nothing."""
    kind = handler.opt.get("deep_query")
    if kind is None:
        return []
    told = {
        "in": "query",
        "description": kind.__doc__.strip(),
        "style": "deepObject",
        "explode": True,
    }
    return [
        {"name": field.name, **told, "schema": msgspec.json.schema(field.type)}
        for field in msgspec.structs.fields(kind)
    ]


def _parameter(given: dict[str, Any]) -> dict[str, Any]:
    """A parameter without what need not be said; null cannot come in a path or query."""
    schema = {name: value for name, value in given["schema"].items() if name != "description"}
    for name in ("oneOf", "type", "enum"):
        if isinstance(schema.get(name), list):
            schema[name] = [each for each in schema[name] if each not in ("null", None, {"type": "null"})]
    if isinstance(schema.get("type"), list) and len(schema["type"]) == 1:
        [schema["type"]] = schema["type"]
    if len(schema.get("oneOf", ())) == 1:
        [only] = schema.pop("oneOf")
        schema = only | schema
    kept = {name: given[name] for name in ("name", "in", "required", "description") if name in given}
    return kept | {"schema": schema}


def _statuses(path: str, method: str, handler: HTTPRouteHandler) -> set[int]:
    """The errors that a route can answer with."""
    found = {400, 405, 408, 431, 500, 503}
    if handler.opt["scope"]:
        found |= {401, 403}
    if "{" in path:
        found |= {404}
    if handler.opt.get("body"):
        found |= {413, 415}
    if method == "post":
        found |= {409}
    return (found | set(handler.opt.get("errors", ()))) - set(handler.opt.get("answers", ()))


def _errors(statuses: set[int]) -> dict[str, Any]:
    """The answers that operations refer to."""
    answers: dict[str, Any] = {}
    for status in sorted(statuses):
        answers[_name(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": _ref(ErrorBody)}},
        }
        if status in (429, 503):
            answers[_name(status)]["headers"] = WAIT
    return answers


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _bodies(handler: HTTPRouteHandler) -> list[Any]:
    body = handler.opt.get("body")
    return [body] if body is not None else []


def _answers(handler: HTTPRouteHandler) -> list[Any]:
    """The struct that a handler answers with, if it is one."""
    annotation = handler.parsed_fn_signature.return_type.annotation
    if get_origin(annotation) is Response:
        [annotation] = get_args(annotation)
    kind = get_origin(annotation) or annotation
    return [annotation] if isinstance(kind, type) and issubclass(kind, Struct) else []


def _ref(kind: Any) -> dict[str, Any]:
    [schema], _ = msgspec.json.schema_components([kind], ref_template=REF)
    return schema
