"""Query parameters that a route knows: a misspelt one would else do nothing, in silence."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from functools import cache

import msgspec
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter

from app.api.errors import invalid
from app.api.schemas.errors import RequestFault

LONGEST_NAME = 64


def known_query(names: Iterable[str], handler: BaseRouteHandler) -> None:
    """Refuse names that the route does not know, with the one that may be meant. Raises `ApiError` 400."""
    plain, deep = taken(handler)
    faults: list[RequestFault] = []
    for name, count in Counter(names).items():
        shown = name[:LONGEST_NAME]
        if name.endswith("]") and name.partition("[")[0] in deep:
            if count > 1:
                faults.append(RequestFault(shown, f"{shown} is there twice"))
        elif name not in plain:
            faults.append(RequestFault(shown, _unknown(shown, plain, deep), "unknown_parameter"))
    if faults:
        raise invalid(faults)


@cache
def taken(handler: BaseRouteHandler) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The query parameters of a route: those by their name, and those of the form `name[key]`."""
    plain = tuple(
        name
        for name, parameter in handler.parsed_fn_signature.parameters.items()
        if any(isinstance(told, QueryParameter) for told in getattr(parameter.raw, "__metadata__", ()))
    )
    kind = handler.opt.get("deep_query")
    deep = tuple(field.name for field in msgspec.structs.fields(kind)) if kind is not None else ()
    return plain + tuple(handler.opt.get("bare_query", ())), deep


def _unknown(name: str, plain: tuple[str, ...], deep: tuple[str, ...]) -> str:
    known = [*plain, *(f"{each}[key]" for each in deep)]
    if not known:
        return f"there is no query parameter {name!r}: this route takes none"
    near = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no query parameter {name!r}; {meant}Known are: {', '.join(known)}"
