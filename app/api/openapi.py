"""The OpenAPI 3.1 document: Litestar's routes and parameters, msgspec's schemas, our errors.

Litestar loses bounds inside unions and whatever a raw request takes, so every schema comes from msgspec,
which reads and writes the bodies, and the errors from what a route is: with a key, a body, an id, a command.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from app.api.answers import HEADERS, accepted, is_idempotent, noun_of, refusal, refused
from app.api.codes import Refusal
from app.api.schemas.errors import ErrorBody
from app.api.schemas.form import FORMS
from app.api.schemas.openai.request import BESIDE
from app.webhooks.payloads import WebhookPayload

REF = "#/components/schemas/{name}"
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Of your own making. Sent again with it and the same body, a request is answered as "
    "the first time, for a day; with another body, 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
Common = dict[tuple[int, tuple[Refusal, ...]], str]
BYTES = {"type": "string", "format": "binary"}
# What an id in a path is of, by the path's noun.
IDS = {
    "tunings": "Id of a tuning, `job-…`.",
    "fine_tuning": "Id of a tuning, `job-…`.",
    "files": "Id of a file, `file-…`.",
    "uploads": "Id of an upload, `upload-…`.",
    "models": "Id of a model, as `/v1/models` has it.",
    "keys": "Id of a key, `key-…`; never the secret.",
    "accounts": "Id of an account, `acct-…`.",
    "webhooks": "Id of a webhook, `wh-…`.",
}

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
    found = list(_operations(app))
    shared = _shared([refused(path, handler) for path, _, handler in found])
    for path, method, handler in found:
        operation = made["paths"][path][method]
        kinds += [*_bodies(handler), *_answers(handler)]
        _complete(operation, path, handler, shared)
    _link(made["paths"])
    made["webhooks"] = {"event": {"post": WEBHOOK}}
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    # Through JSON, which turns defaults that are tuples into lists.
    schemas = msgspec.json.decode(msgspec.json.encode(schemas))
    schemas["FineTuningHyperparameters"]["properties"] |= BESIDE
    for schema in schemas.values():
        _name_kind(schema)
    made["components"] = {
        "schemas": schemas,
        "responses": {
            name: refusal(status, codes, _ref(ErrorBody)) for (status, codes), name in shared.items()
        },
        "headers": HEADERS,
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


def _complete(operation: dict[str, Any], path: str, handler: HTTPRouteHandler, shared: Common) -> None:
    """Add to an operation what its handler says in `opt`, and every error that it can answer with."""
    operation["summary"], _, more = (handler.fn.__doc__ or "").strip().partition("\n")
    operation["description"] = f"{operation['summary']}{more}"
    operation["tags"] = [noun_of(path)]
    for body in _bodies(handler):
        media = "multipart/form-data" if body in FORMS else "application/json"
        content = {"schema": _ref(body)}
        if (example := handler.opt.get("example")) is not None:
            content["example"] = example
        required = handler.opt.get("body_required", True)
        operation["requestBody"] = {"required": required, "content": {media: content}}
    parameters = [_parameter(each, path) for each in operation.get("parameters", [])]
    parameters += _deep(handler)
    if is_idempotent(handler):
        parameters.append(IDEMPOTENCY_KEY)
    if parameters:
        operation["parameters"] = parameters
    scope = handler.opt["scope"]
    operation["security"] = [{"key": []}] if scope else []
    if scope:
        operation["description"] += f"\n\nThe key needs the scope `{scope}`."
    responses = {status: response for status, response in operation["responses"].items() if int(status) < 400}
    for response in responses.values():
        for content in response.get("content", {}).values():
            content["schema"] = content["schema"] or BYTES
            for answer in _answers(handler):
                content["schema"] = _ref(answer)
        if stream := handler.opt.get("stream"):
            response["content"]["text/event-stream"] = {"schema": {"type": "string", "description": stream}}
    for status in (*handler.opt.get("answers", ()),):
        responses[str(status)] = responses[str(handler.status_code)]
    what = next((_called(answer) for answer in _answers(handler)), operation["summary"])
    responses = {
        status: response | accepted(int(status), handler, what) for status, response in responses.items()
    }
    for status, codes in refused(path, handler).items():
        responses[str(status)] = (
            {"$ref": f"#/components/responses/{shared[status, codes]}"}
            if (status, codes) in shared
            else refusal(status, codes, _ref(ErrorBody))
        )
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


def _parameter(given: dict[str, Any], path: str) -> dict[str, Any]:
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
    if given["in"] == "path":
        kept["description"] = IDS[noun_of(path)]
    return kept | {"schema": schema}


def _shared(found: list[dict[int, tuple[Refusal, ...]]]) -> Common:
    """Names for the refusals that several operations answer with: said once, and referred to."""
    counted = Counter(each for refusals in found for each in refusals.items())
    names: Common = {}
    taken: Counter[int] = Counter()
    for (status, codes), count in sorted(counted.items(), key=lambda each: (each[0][0], -each[1])):
        if count > 1:
            taken[status] += 1
            number = str(taken[status]) if taken[status] > 1 else ""
            names[status, codes] = HTTPStatus(status).phrase.replace(" ", "") + number
    return names


def _name_kind(schema: dict[str, Any]) -> None:
    """Describe `object`, which is one word for all objects of a kind."""
    field = schema.get("properties", {}).get("object", {})
    if len(field.get("enum", ())) == 1:
        [kind] = field["enum"]
        field["description"] = f"What this is: always `{kind}`."


def _called(kind: Any) -> str:
    """A struct in its own words; of a page, whose rows it has."""
    if get_origin(kind) is None:
        return str(kind.__doc__.partition("\n")[0])
    [row] = get_args(kind)
    return f"A page of {row.__name__}."


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
