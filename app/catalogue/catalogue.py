"""The catalogue of base models: the packaged `models.toml`, and the operator's own on top of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

ALONE = "without_packaged"  # the one key of a catalogue that is no model

Count = Annotated[int, Meta(ge=1)]


class Package(Struct, frozen=True, tag="package", tag_field="type", forbid_unknown_fields=True):
    """A GGUF file with this SHA-256 in the folder of an installed Python package."""

    package: str
    file: str
    sha256: str


class Folder(Struct, frozen=True, tag="folder", tag_field="type", forbid_unknown_fields=True):
    """A folder of safetensors and tokenizer on this machine; with a `digest`, exactly those files.

    It is the SHA-256 over names and digests of the files; without one they are held to what they were when
    they were first used.
    """

    path: str
    digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""


class Hub(Struct, frozen=True, tag="hub", tag_field="type", forbid_unknown_fields=True):
    """A repository of the Hugging Face hub at a commit: a branch or a tag would move."""

    repository: Annotated[str, Meta(pattern=r"^[\w.-]+(/[\w.-]+)?$")]
    revision: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")]


Source = Package | Folder | Hub


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A base model: where it comes from, its shape, its context in tokens, the size of its folder in bytes.

    `template` is the family of its chat template, or `none`. A model of the hub is at its commit unless it
    names another `revision`.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    source: Source
    license: str
    revision: Annotated[str, Meta(pattern=r"^\w[\w.+-]{0,99}$")]
    template: str
    context_length: Count
    parameters: Count
    bytes: Count
    layers: Count
    hidden_size: Count
    intermediate_size: Count
    heads: Count
    key_value_heads: Count
    vocabulary: Count


class CatalogueError(Exception):
    """The catalogue's file cannot be used; the sentence says which entry and which field."""


def read_catalogue(text: str | None = None, name: str = "models.toml") -> dict[str, Entry]:
    """The entries by model id, in the order of the file. Raises `CatalogueError` with every fault."""
    if text is None:
        text = files("app.catalogue").joinpath("models.toml").read_text(encoding="utf-8")
    return _entries(_document(text, name), name)


def operators_catalogue(path: Path) -> dict[str, Entry]:
    """The packaged entries and those of the operator's file, which win. Raises `CatalogueError`.

    Folders are named from the file's own; with `without_packaged = true` its entries are all there are.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path} cannot be read: {error}") from error
    document = _document(text, str(path))
    alone = document.pop(ALONE, False)
    own = {id: _from_its_folder(entry, path.parent) for id, entry in _entries(document, str(path)).items()}
    return own if alone is True else read_catalogue() | own


def use_catalogue(path: Path | None) -> None:
    """Have this process know the operator's models, before any role begins. Raises `CatalogueError`."""
    if path is not None:
        known = operators_catalogue(path)
        CATALOGUE.clear()
        CATALOGUE.update(known)


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{name} cannot be used: {error}") from error


def _entries(document: Mapping[str, Any], name: str) -> dict[str, Entry]:
    entries, faults = dict[str, Entry](), list[str]()
    for id, fields in document.items():
        try:
            if not isinstance(fields, dict):
                raise CatalogueError("a model is a table of fields")
            entries[id] = msgspec.convert(_with_commit({"id": id} | fields), Entry)
        except (msgspec.ValidationError, CatalogueError) as error:
            faults.append(f"[{id}] {error}")
    if faults:
        raise CatalogueError(f"{name} cannot be used: {'; '.join(faults)}")
    return entries


def _with_commit(fields: dict[str, Any]) -> dict[str, Any]:
    source = fields.get("source")
    if isinstance(source, dict) and source.get("type") == "hub" and "revision" in source:
        return {"revision": source["revision"]} | fields
    return fields


def _from_its_folder(entry: Entry, folder: Path) -> Entry:
    if isinstance(source := entry.source, Folder):
        path = (folder / Path(source.path).expanduser()).resolve()
        return replace(entry, source=replace(source, path=str(path)))
    return entry


CATALOGUE = read_catalogue()
