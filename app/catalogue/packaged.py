"""Models that come as GGUF in an installed package: converted once, by a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.catalogue.catalogue import Entry, Package
from app.catalogue.files import (
    MANIFEST,
    ModelError,
    OnProgress,
    checked_of,
    damaged,
    last_line,
    locked,
    manifest_of,
    read_manifest,
    sha256_of,
    write_manifest,
)

SPACE_FACTOR = 3
CONVERTER = "app.trainer_worker.training.convert"


def converted(
    folder: Path, entry: Entry, source: Package, on_progress: OnProgress, abandoned: Callable[[], bool]
) -> Path:
    """The model's folder, made if it is not there yet, and made again if it is not what it was.

    Raises `ModelError`, `Abandoned`.
    """
    if _is_there(folder, source):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"{entry.id}: waiting for another process that converts it"
    with locked(folder.parent / f"{entry.revision}.lock", waiting, on_progress, abandoned):
        if _is_there(folder, source):
            return folder
        weights = _weights(entry, source)
        free = shutil.disk_usage(folder.parent).free
        if free < SPACE_FACTOR * entry.bytes:
            raise ModelError(
                f"{entry.id} needs {SPACE_FACTOR * entry.bytes >> 20} MiB for its conversion, "
                f"but {free >> 20} are free at {folder.parent}; free some or set TUNESMITH_CACHE_DIR",
                "disk_full",
                retryable=True,
            )
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent) as name:
            part = Path(name) / "model"
            _convert(weights, part, entry, on_progress)
            write_manifest(part / MANIFEST, manifest_of(part, entry.id, entry.revision, source.sha256))
            if folder.exists():  # not whole, or of other weights
                folder.rename(Path(name) / "former")
            part.rename(folder)
    return folder


def _is_there(folder: Path, source: Package) -> bool:
    manifest = read_manifest(folder / MANIFEST)
    if manifest is None or manifest.source_sha256 != source.sha256:
        return False
    return not damaged(folder, manifest.files, checked_of(folder))


def _weights(entry: Entry, source: Package) -> Path:
    found = find_spec(source.package)
    if found is None or found.origin is None:
        raise ModelError(
            f"the package {source.package} is not installed, which carries {entry.id}; install it"
        )
    weights = Path(found.origin).parent / source.file
    if not weights.is_file() or sha256_of(weights) != source.sha256:
        raise ModelError(f"{weights} is not the file that {entry.id} is made of; reinstall {source.package}")
    return weights


def _convert(weights: Path, part: Path, entry: Entry, on_progress: OnProgress) -> None:
    """Run the converter, which needs torch; it is killed if we are."""
    command = [sys.executable, "-m", CONVERTER, str(weights), str(part)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as converter,
    ):
        try:
            assert converter.stdout is not None
            for line in converter.stdout:
                told = _stage(line)
                if told is not None:
                    on_progress(f"{entry.id}: {told['stage']} ({told['done']:.0%} of the conversion)")
            status = converter.wait()
        except BaseException:
            converter.kill()
            raise
        if status != 0:
            raise ModelError(f"{entry.id} could not be converted: {last_line(errors) or f'status {status}'}")


def _stage(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and {"stage", "done"} <= told.keys() else None
