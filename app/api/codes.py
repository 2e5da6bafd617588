"""The codes that requests are refused with, and which operations answer with which, from `errors.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

PATH = Path(__file__).with_name("errors.toml")
NAMES = {
    400: "the request is not valid",
    401: "no key, or an unknown one",
    403: "this key may not do this",
    404: "no such route, or no such thing of this account",
    405: "the route does not take this method",
    408: "the request came too slowly",
    409: "it goes against what is there",
    413: "too large",
    415: "not a media type that is taken",
    429: "a limit is reached",
    431: "path and headers are too large",
    500: "a fault of the service",
    503: "something that the service needs is not there",
}


class Refusal(Struct, frozen=True, forbid_unknown_fields=True):
    """A code that the api answers with; `on` are ids, nouns or kinds of operations, as the table says."""

    code: str
    status: tuple[int, ...]
    on: tuple[str, ...]
    meaning: str
    do: str


@cache
def refusals() -> tuple[Refusal, ...]:
    """Every code there is, in the order of the table."""
    return msgspec.convert(tomllib.loads(PATH.read_text())["request"], tuple[Refusal, ...])


def refusals_on(traits: AbstractSet[str]) -> dict[int, tuple[Refusal, ...]]:
    """The codes of an operation that is all of these, by status."""
    found: dict[int, tuple[Refusal, ...]] = {}
    for each in refusals():
        if not traits.isdisjoint(each.on):
            for status in each.status:
                found[status] = (*found.get(status, ()), each)
    return dict(sorted(found.items()))
