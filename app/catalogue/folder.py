"""Models in a folder of this machine: used as they are, and held to what they were at first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from app.catalogue.catalogue import Entry, Folder
from app.catalogue.files import (
    ModelError,
    OnProgress,
    counted_files,
    damaged,
    locked,
    manifest_of,
    read_manifest,
    write_manifest,
)
from app.catalogue.shape import check_description, check_weights


def held_to_its_digests(
    records: Path,
    entry: Entry,
    source: Folder,
    on_progress: OnProgress = lambda _: None,
    abandoned: Callable[[], bool] = lambda: False,
    *,
    wholly: bool = False,
) -> Path:
    """The folder, once its files are those of the entry and of its first use, noted in `records`.

    `wholly`: every byte is read, however lately that was done. Raises `ModelError`, `Abandoned`.
    """
    folder = Path(source.path)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{entry.id} should lie in {folder}, but there is no config.json in it")
    records.mkdir(parents=True, exist_ok=True)
    place = hashlib.sha256(source.path.encode()).hexdigest()[:8]
    manifest, checked = (records / f"{entry.revision}-{place}.{kind}" for kind in ("json", "checked"))
    waiting = f"{entry.id}: waiting for another process that reads its files"
    with locked(records / f"{entry.revision}-{place}.lock", waiting, on_progress, abandoned):
        known = read_manifest(manifest)
        if known is None or (source.digest and known.digest != source.digest):
            check_description(folder, entry)
            check_weights(folder)
            known = manifest_of(folder, entry.id, entry.revision)
            if source.digest and known.digest != source.digest:
                raise ModelError(
                    f"the files in {folder} are not those of {entry.id}: their digest is {known.digest}"
                )
            write_manifest(manifest, known)
        others = {path.name for path in counted_files(folder)} ^ known.files.keys()
        if changed := sorted(others) or damaged(folder, known.files, checked, wholly=wholly):
            raise ModelError(
                f"{folder} is no longer what {entry.id} was at revision {entry.revision}: "
                f"{', '.join(changed)} changed; other files are another revision, so give the entry one"
            )
    return folder
