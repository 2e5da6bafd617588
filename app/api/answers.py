"""What an operation answers, for the OpenAPI document: statuses in words, codes of refusals, headers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from litestar.handlers import HTTPRouteHandler

from app.api.codes import NAMES, Refusal, refusals_on
from app.api.schemas.form import FORMS

COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
HEADERS: dict[str, dict[str, Any]] = {
    "x-request-id": {
        "description": "Id of this request. Tell it when you ask for help: the operator's log has it.",
        "schema": TEXT,
    },
    "x-ratelimit-limit": {
        "description": "How many tunings the account may create in any 60 seconds; "
        "2147483647: it has no limit.",
        "schema": COUNT,
    },
    "x-ratelimit-remaining": {
        "description": "How many of these are left; 2147483647 without a limit.",
        "schema": COUNT,
    },
    "x-ratelimit-reset": {
        "description": "Seconds until there is room for one more; 0 without a limit.",
        "schema": COUNT,
    },
    "location": {"description": "Path of what was made.", "schema": TEXT},
    "content-disposition": {"description": "`attachment`, with a name for the file.", "schema": TEXT},
    "cache-control": {"description": "Of a stream: `no-store`.", "schema": TEXT},
    "x-accel-buffering": {
        "description": "Of a stream: `no`, so that a proxy hands each event on at once.",
        "schema": TEXT,
    },
    "retry-after": {"description": "Seconds to wait before it is sent again.", "schema": COUNT},
    "x-should-retry": {
        "description": "`false`: sent again as it is, it would be refused again, or might be done twice.",
        "schema": {"enum": ["false"]},
    },
    "www-authenticate": {"description": "`Bearer`: how a key is sent.", "schema": TEXT},
    "allow": {"description": "The methods that the path takes.", "schema": TEXT},
}
EVERYWHERE = ("x-request-id",)
KEYED = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
OF_STREAMS = ("cache-control", "x-accel-buffering")
OF_REFUSALS = {
    401: ("www-authenticate",),
    405: ("allow",),
    409: ("x-should-retry",),
    429: ("retry-after", "x-should-retry"),
    503: ("retry-after", "x-should-retry"),
}


def is_idempotent(handler: HTTPRouteHandler) -> bool:
    """Whether an Idempotency-Key means anything to a route: a POST that makes or changes something."""
    return "POST" in handler.http_methods and bool(handler.opt.get("idempotent", True))


def refused(path: str, handler: HTTPRouteHandler) -> dict[int, tuple[Refusal, ...]]:
    """Every code that a route can answer with, by status."""
    body = handler.opt.get("body")
    traits = {
        str(handler.operation_id),
        noun_of(path),
        "every",
        "keyed" if handler.opt["scope"] else "",
        "id" if "{" in path else "",
        ("form" if body in FORMS else "body") if body is not None else "",
        "idempotent" if is_idempotent(handler) else "",
    }
    answers = handler.opt.get("answers", ())  # with a body of its own, and no error's
    return {status: codes for status, codes in refusals_on(traits).items() if status not in answers}


def refusal(status: int, codes: tuple[Refusal, ...], error: dict[str, Any]) -> dict[str, Any]:
    """The answer with this status, in words, with each code that it can have; `error` is its body."""
    name = NAMES[status]
    told = "\n".join(f"- `{each.code}`: {each.meaning}" for each in codes)
    return {
        "description": f"{name[0].upper()}{name[1:]}:\n\n{told}",
        "headers": referred((*EVERYWHERE, *KEYED, *OF_REFUSALS.get(status, ()))),
        "content": {"application/json": {"schema": error}},
        "x-codes": [each.code for each in codes],
    }


def accepted(status: int, handler: HTTPRouteHandler, what: str) -> dict[str, Any]:
    """What is said of an answer that is no refusal, but for its content: in words, and its headers."""
    description = {
        201: f"Made. {what}",
        202: f"Accepted, and it may not be seen in other answers yet. {what}",
        503: f"Something that the service stands on does not answer. {what}",
    }.get(status, what)
    names = [*EVERYWHERE, *(KEYED if handler.opt["scope"] else ())]
    names += handler.opt.get("answer_headers", ())
    names += OF_STREAMS if handler.opt.get("stream") else ()
    names += OF_REFUSALS[503][:1] if status == HTTPStatus.SERVICE_UNAVAILABLE else ()
    return {"description": description, "headers": referred(names)}


def referred(names: Any) -> dict[str, Any]:
    """References to headers of the document's."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def noun_of(path: str) -> str:
    """What a path is about: `tunings` of /v1/tunings.get/{id}."""
    return path.split("/")[2].partition(".")[0] if path.startswith("/v1/") else "operations"
