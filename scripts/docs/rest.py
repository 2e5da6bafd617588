"""`rest.md`: every route, out of the OpenAPI document."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.app import routed
from app.api.codes import refusals
from app.api.openapi import document
from scripts.docs.markdown import anchor, page, prose, table
from scripts.docs.schemas import fields, kind_of, title_of

INTRODUCTION = """\
Two faces over one service: `/v1/<noun>.<verb>`, and OpenAI's routes (`/v1/fine_tuning/jobs`, `/v1/files`,
`/v1/models`, `/v1/uploads`), which the stock `openai` client speaks. The same is in `infra/openapi.yaml`,
at `/openapi.json` of a running service, and at `/docs` to try out.

What holds for every route:

- **Key.** `Authorization: Bearer sk-…`. A key has the scopes `read`, `write` and `admin`; each route names
  its own.
- **Ids** of another account are answered as ids that do not exist: 404 in a path, 400 in a body.
- **Times** are Unix seconds. Texts have no NUL character.
- **Errors** are `{"error": {"type", "message", "code", "param"}}`, with every fault of the request in
  `error.errors`. [Errors](errors.md) says what each code means and what to do. Every route can answer 400,
  405, 408, 431, 500 and 503; the others that it can answer with are listed with it, and the codes that are
  its own.
- **Fields and query parameters** that a route does not know are refused; the message names those it knows.
- **Headers** of every answer: `x-request-id`, which the operator can find in the log; and of every answer
  to a key, refusals among them, where its account stands with its creates in 60 seconds: `x-ratelimit-limit`,
  `x-ratelimit-remaining` and `x-ratelimit-reset`, the seconds until there is room again. An account without
  a limit is told 2147483647, 2147483647 and 0. 429 and 503 carry `Retry-After`. The OpenAPI document has
  every header of every answer.
- **Idempotency-Key** on every POST but `tunings.estimate` and `tunings.preview`, which change nothing:
  [Idempotency and retries](../guide/idempotency.md).
- **202** instead of 200 or 201: accepted, and the answer may not show it yet. Read it again.
- **Lists** are newest first, unless said. `after` is the id of the last row of the page before."""
ALWAYS = {"400", "405", "408", "431", "500", "503"}
IDEMPOTENCY = "Idempotency-Key"
KINDS = {"every", "keyed", "id", "body", "form", "idempotent"}
GENERAL = {each.code for each in refusals() if KINDS.issuperset(each.on)}
TITLES = {"fine_tuning": "fine_tuning (OpenAI)"}


def text() -> str:
    """The page."""
    found = document(routed())
    schemas: dict[str, Any] = found["components"]["schemas"]
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, item in found["paths"].items():
        for method, operation in item.items():
            by_tag.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    parts = [INTRODUCTION, _contents(by_tag)]
    for tag, operations in by_tag.items():
        parts.append(f"## {TITLES.get(tag, tag)}")
        parts += [_operation(*operation, found["components"]) for operation in operations]
    parts += ["## Webhook requests", _webhook(found["webhooks"]["event"]["post"])]
    parts.append("## Objects\n\nWhat is answered. A newer service may add fields and words to any of them.")
    parts += [_object(name, schemas[name]) for name in _answered(found)]
    return page("REST reference", "the OpenAPI document", *parts)


def _contents(by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]]) -> str:
    rows = [
        (f"[{method} {path}](#{anchor(f'{method} {path}')})", operation["summary"])
        for operations in by_tag.values()
        for method, path, operation in operations
    ]
    return table(("route", "what it does"), rows)


def _operation(method: str, path: str, operation: dict[str, Any], components: dict[str, Any]) -> str:
    parts = [f"### {method} {path}", prose(operation["description"])]
    parameters = [each for each in operation.get("parameters", []) if each["name"] != IDEMPOTENCY]
    parts.append(
        table(
            ("parameter", "in", "type", "default", "meaning"),
            [
                (
                    f"`{each['name']}`",
                    each["in"],
                    kind_of(each["schema"]),
                    _default(each),
                    each.get("description", ""),
                )
                for each in parameters
            ],
        )
    )
    if (body := operation.get("requestBody")) is not None:
        [(media, content)] = body["content"].items()
        name = content["schema"]["$ref"].rpartition("/")[2]
        optional = "" if body["required"] else ", which may be left out"
        parts.append(f"Body{optional} (`{media}`):")
        parts.append(fields(components["schemas"][name]))
        if "example" in content:
            shown = msgspec.json.format(msgspec.json.encode(content["example"])).decode()
            parts.append(f"```json\n{shown}\n```")
    parts.append(_answers(operation, components))
    return "\n\n".join(part for part in parts if part)


def _default(parameter: dict[str, Any]) -> str:
    if parameter.get("required"):
        return "required"
    default = parameter["schema"].get("default")
    return "" if default is None else f"`{default}`"


def _answers(operation: dict[str, Any], components: dict[str, Any]) -> str:
    told = []
    for status, response in operation["responses"].items():
        if status in ALWAYS or status >= "400":
            continue
        kinds = [
            f"`{media}`" if media != "application/json" else kind_of(content["schema"])
            for media, content in response.get("content", {}).items()
        ]
        told.append(f"{status} {' or '.join(kinds)}".strip())
    errors = [
        f"[{status}](errors.md#{status}){own}"
        for status, response in operation["responses"].items()
        if status >= "400"
        for own in [_own_codes(response, components)]
        if own or status not in ALWAYS
    ]
    more = f" Errors: {', '.join(errors)}." if errors else ""
    return f"Answers: {'; '.join(told)}.{more}"


def _own_codes(response: dict[str, Any], components: dict[str, Any]) -> str:
    """The codes of a refusal that not all operations of some kind have."""
    if "$ref" in response:
        response = components["responses"][response["$ref"].rpartition("/")[2]]
    codes = [f"`{code}`" for code in response.get("x-codes", ()) if code not in GENERAL]
    return f" {', '.join(codes)}" if codes else ""


def _webhook(operation: dict[str, Any]) -> str:
    rows = [(f"`{each['name']}`", each["description"]) for each in operation["parameters"]]
    answers = [
        (f"`{status}`", response["description"]) for status, response in operation["responses"].items()
    ]
    return "\n\n".join(
        [
            f"{operation['summary']} {operation['description']}",
            table(("header", "meaning"), rows),
            "The body is a [WebhookPayload](#webhookpayload).",
            table(("your answer", "what follows"), answers),
        ]
    )


def _object(name: str, schema: dict[str, Any]) -> str:
    told = prose(schema.get("description"))
    return "\n\n".join(
        part for part in (f"### {title_of(name)}", told, fields(schema, answered=True)) if part
    )


def _answered(found: dict[str, Any]) -> list[str]:
    """The names of all schemas that can be answered, those inside of them too."""
    schemas: dict[str, Any] = found["components"]["schemas"]
    names: set[str] = {"ErrorBody", "WebhookPayload"}
    for item in found["paths"].values():
        for operation in item.values():
            for response in operation["responses"].values():
                names |= set(_references(response.get("content", {})))
            for content in operation.get("requestBody", {}).get("content", {}).values():
                body = content["schema"]["$ref"].rpartition("/")[2]
                names |= set(_references(schemas[body]))
    while more := {ref for name in names for ref in _references(schemas[name])} - names:
        names |= more
    return [name for name in schemas if name in names]


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        inside = [ref for value in schema.values() for ref in _references(value)]
        own = schema.get("$ref")
        return [own.rpartition("/")[2], *inside] if isinstance(own, str) else inside
    if isinstance(schema, list):
        return [ref for each in schema for ref in _references(each)]
    return []
