"""The catalogue of base models, read from `models.toml`."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import msgspec
from msgspec import Struct


class Package(Struct, frozen=True, tag="package", tag_field="type", forbid_unknown_fields=True):
    """A GGUF file with this SHA-256 in the folder of an installed Python package."""

    package: str
    file: str
    sha256: str


class Folder(Struct, frozen=True, tag="folder", tag_field="type", forbid_unknown_fields=True):
    """A folder of safetensors and tokenizer on this machine."""

    path: str


class Hub(Struct, frozen=True, tag="hub", tag_field="type", forbid_unknown_fields=True):
    """A repository of the Hugging Face hub, `revision` being a commit."""

    repository: str
    revision: str


Source = Package | Folder | Hub


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A base model: where it comes from, its shape, its context in tokens, the size of its folder in bytes.

    `template` is the family of its chat template.
    """

    id: str
    source: Source
    license: str
    revision: str
    template: str
    context_length: int
    parameters: int
    bytes: int
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    key_value_heads: int
    vocabulary: int


class CatalogueError(Exception):
    """The catalogue's file cannot be used; the sentence says where it is wrong."""


def read_catalogue(text: str | None = None) -> dict[str, Entry]:
    """The entries by model id, in the order of the file. Raises `CatalogueError`."""
    if text is None:
        text = files("app.catalogue").joinpath("models.toml").read_text(encoding="utf-8")
    try:
        document = tomllib.loads(text)
        return {id: msgspec.convert({"id": id} | entry, Entry) for id, entry in document.items()}
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, TypeError) as error:
        raise CatalogueError(f"models.toml cannot be used: {error}") from error


CATALOGUE = read_catalogue()
