"""A model's local folder, wherever it comes from: made, fetched or checked when somebody wants it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from app.catalogue.catalogue import Entry, Folder, Package
from app.catalogue.files import MANIFEST, ModelError, OnProgress, checked_of, damaged, read_manifest
from app.catalogue.folder import held_to_its_digests
from app.catalogue.hub import Access, described_only, fetched
from app.catalogue.packaged import converted


def model_folder(cache: Path, entry: Entry) -> Path:
    """Where a model's files lie once they are there."""
    if isinstance(entry.source, Folder):
        return Path(entry.source.path)
    return _records(cache, entry) / entry.revision


def ensure_model(
    cache: Path,
    entry: Entry,
    on_progress: OnProgress = lambda _: None,
    access: Access = Access(),  # noqa: B008 – frozen
    abandoned: Callable[[], bool] = lambda: False,
) -> Path:
    """The model's folder, every file of it what it should be. Blocks.

    Two processes that ask at once make or fetch it once: the second waits for the first. Raises `ModelError`,
    or `Abandoned` once that is so.
    """
    folder = model_folder(cache, entry)
    try:
        match entry.source:
            case Package() as source:
                return converted(folder, entry, source, on_progress, abandoned)
            case Folder() as source:
                return held_to_its_digests(_records(cache, entry), entry, source, on_progress, abandoned)
            case source:
                return fetched(folder, entry, source, access, on_progress, abandoned)
    except OSError as error:
        raise _not_kept(entry, folder, error) from error


def ensure_tokenizer(
    cache: Path,
    entry: Entry,
    on_progress: OnProgress = lambda _: None,
    access: Access = Access(),  # noqa: B008 – frozen
) -> Path:
    """A folder with the model's configuration and tokenizer at least; for these no weights come. Blocks.

    Raises `ModelError`.
    """
    if isinstance(entry.source, Package | Folder):
        return ensure_model(cache, entry, on_progress, access)
    folder = model_folder(cache, entry)
    try:
        return described_only(folder, entry, entry.source, access, on_progress, lambda: False)
    except OSError as error:
        raise _not_kept(entry, folder, error) from error


class Finding(Struct, frozen=True):
    """What is to be said of a model's files; `wrong` when they are here and are not what they should be."""

    sentence: str
    wrong: bool


def check_model(cache: Path, entry: Entry) -> Finding | None:
    """Read all of a model's files; None if they are good. Nothing is made, fetched or mended."""
    folder = model_folder(cache, entry)
    if isinstance(entry.source, Folder):
        try:
            held_to_its_digests(_records(cache, entry), entry, entry.source, wholly=True)
        except ModelError as error:
            return Finding(str(error), wrong=True)
        return None
    if not folder.exists():
        return Finding("not here yet: `models fetch`, or the first tuning, gets it", wrong=False)
    manifest = read_manifest(folder / MANIFEST)
    bad = [MANIFEST] if manifest is None else damaged(folder, manifest.files, checked_of(folder), wholly=True)
    said = f"damaged in {folder}: {', '.join(bad)}; mended when it is next wanted"
    return Finding(said, wrong=True) if bad else None


def _records(cache: Path, entry: Entry) -> Path:
    return cache / "models" / entry.id


def _not_kept(entry: Entry, folder: Path, error: OSError) -> ModelError:
    return ModelError(
        f"{entry.id} cannot be kept at {folder}: {error.strerror or error}; "
        "set TUNESMITH_CACHE_DIR to a folder that can be written",
        "files_unreadable",
        retryable=True,
    )
