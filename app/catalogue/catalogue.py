"""The catalogue of base models, read from `models.toml`."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct


class Entry(Struct, frozen=True, kw_only=True):
    """A base model: where it comes from, its shape, and its context in tokens."""

    id: str
    source: Literal["package"]
    package: str
    file: str
    license: str
    revision: str
    context_length: int
    parameters: int
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    key_value_heads: int
    vocabulary: int


def read_catalogue() -> dict[str, Entry]:
    """The entries by model id."""
    document = tomllib.loads(files("app.catalogue").joinpath("models.toml").read_text())
    return {id: msgspec.convert({"id": id} | entry, Entry) for id, entry in document.items()}


CATALOGUE = read_catalogue()
