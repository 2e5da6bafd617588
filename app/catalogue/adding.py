"""A ready entry for a model that the operator wants: read from its own files, so that nobody types layers."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from app.catalogue.catalogue import Entry, Folder, Hub, Source
from app.catalogue.fetching import Wanted, commit_of, fetch, info_of, listed, parameters_there
from app.catalogue.files import DESCRIPTION, ModelError, counted_files, manifest_of
from app.catalogue.hub import EVERYTHING, Access
from app.catalogue.shape import check_weights, parameters_of, shape_of, template_of

LONGEST_ID = 63
UNKNOWN = "unknown"


def entry_of_repository(
    access: Access, repository: str, revision: str | None = None, id: str | None = None
) -> Entry:
    """The entry of a repository at a commit, or at what a branch is now. Raises `ModelError`."""
    commit = commit_of(access.endpoint, access.token, repository, revision)
    with tempfile.TemporaryDirectory(prefix="tunesmith-add-") as name:
        wanted = Wanted(access.endpoint, access.token, repository, commit, name, DESCRIPTION, 0.0)
        fetch(wanted, lambda _: None)
        everything = msgspec.structs.replace(wanted, patterns=EVERYTHING)
        return _entry(
            Path(name),
            Hub(repository, commit),
            id=id or as_id(repository.rpartition("/")[2]),
            revision=commit,
            license=_license(info_of(wanted)),
            parameters=parameters_there(wanted),
            bytes=sum(file.bytes for file in listed(everything)),
        )


def entry_of_folder(folder: Path, id: str | None = None) -> Entry:
    """The entry of a folder of this machine, held to the files that are in it now. Raises `ModelError`."""
    folder = folder.resolve()
    check_weights(folder)
    digest = manifest_of(folder, "", "").digest
    return _entry(
        folder,
        Folder(str(folder), digest),
        id=id or as_id(folder.name),
        revision=digest[:12],
        license=UNKNOWN,
        parameters=parameters_of(folder),
        bytes=sum(path.stat().st_size for path in counted_files(folder)),
    )


def as_toml(entry: Entry) -> str:
    """The entry as `models.toml` has it."""
    fields: dict[str, Any] = msgspec.to_builtins(entry)
    id, source = fields.pop("id"), fields.pop("source")
    if source["type"] == "hub":
        del fields["revision"]  # it is the commit
    lines = [f"[{_key(id)}]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items())]
    lines += [
        "",
        f"[{_key(id)}.source]",
        *(f"{name} = {json.dumps(value)}" for name, value in source.items()),
    ]
    return "\n".join(lines) + "\n"


def as_id(name: str) -> str:
    """A name that a model may have here."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-_")[:LONGEST_ID]


def _entry(folder: Path, source: Source, **known: Any) -> Entry:
    shape = msgspec.structs.asdict(shape_of(folder))
    fields = known | shape | {"template": template_of(folder), "source": msgspec.to_builtins(source)}
    try:
        return msgspec.convert(fields, Entry)
    except msgspec.ValidationError as error:
        raise ModelError(f"{folder.name} makes no entry: {error}") from error


def _license(info: Any) -> str:
    card = getattr(info, "card_data", None)
    return str(getattr(card, "license", None) or UNKNOWN)


def _key(id: str) -> str:
    return id if re.fullmatch(r"[\w-]+", id) else json.dumps(id)
