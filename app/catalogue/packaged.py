"""A model's local folder. A packaged one is converted once into the cache, by a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from app.catalogue.catalogue import Entry, Folder, Package

MANIFEST = "tunesmith.json"
SPACE_FACTOR = 3
CONVERTER = "app.trainer_worker.training.convert"

OnProgress = Callable[[str], None]


class ModelError(Exception):
    """A model's files cannot be had; the sentence says why and what to do."""


class ModelFile(Struct, frozen=True):
    """A file's size in bytes and its SHA-256 in hex."""

    bytes: int
    sha256: str


class Manifest(Struct, frozen=True):
    """What a converted folder holds; `digest` is the SHA-256 over names and digests of its files."""

    id: str
    revision: str
    source_sha256: str
    digest: str
    files: dict[str, ModelFile]


def model_folder(cache: Path, entry: Entry) -> Path:
    """Where a model's files lie once they are there."""
    if isinstance(entry.source, Folder):
        return Path(entry.source.path)
    return cache / "models" / entry.id / entry.revision


def ensure_model(cache: Path, entry: Entry, on_progress: OnProgress = lambda _: None) -> Path:
    """The model's folder, made if it is not there yet. Blocks. Raises `ModelError`.

    Two processes that ask at once convert once: the second waits for the first.
    """
    folder = model_folder(cache, entry)
    match entry.source:
        case Package() as source:
            try:
                return _packaged(folder, entry, source, on_progress)
            except OSError as error:
                raise ModelError(
                    f"{entry.id} cannot be kept at {folder}: {error.strerror or error}; "
                    "set TUNESMITH_CACHE_DIR to a folder that can be written"
                ) from error
        case Folder():
            if not (folder / "config.json").is_file():
                raise ModelError(f"{entry.id} should lie in {folder}, but there is no config.json in it")
            return folder
        case source:
            raise ModelError(
                f"{entry.id} comes from {source.repository}, but hub models cannot be fetched yet"
            )


def read_manifest(folder: Path) -> Manifest | None:
    """What a converted folder says of itself; None if it is not whole. Only sizes are compared."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        whole = all((folder / name).stat().st_size == file.bytes for name, file in manifest.files.items())
    except (OSError, msgspec.DecodeError):
        return None
    return manifest if whole else None


def _packaged(folder: Path, entry: Entry, source: Package, on_progress: OnProgress) -> Path:
    if _is_there(folder, source):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / f"{entry.revision}.lock", entry, on_progress):
        if _is_there(folder, source):
            return folder
        weights = _weights(entry, source)
        free = shutil.disk_usage(folder.parent).free
        if free < SPACE_FACTOR * entry.bytes:
            raise ModelError(
                f"{entry.id} needs {SPACE_FACTOR * entry.bytes >> 20} MiB for its conversion, "
                f"but {free >> 20} are free at {folder.parent}; free some or set TUNESMITH_CACHE_DIR"
            )
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent) as name:
            part = Path(name) / "model"
            _convert(weights, part, entry, on_progress)
            _write_manifest(part, entry, source)
            if folder.exists():  # not whole, or of other weights
                folder.rename(Path(name) / "former")
            part.rename(folder)
    return folder


def _is_there(folder: Path, source: Package) -> bool:
    manifest = read_manifest(folder)
    return manifest is not None and manifest.source_sha256 == source.sha256


@contextmanager
def _locked(path: Path, entry: Entry, on_progress: OnProgress) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_progress(f"{entry.id}: waiting for another process that converts it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _weights(entry: Entry, source: Package) -> Path:
    found = find_spec(source.package)
    if found is None or found.origin is None:
        raise ModelError(
            f"the package {source.package} is not installed, which carries {entry.id}; install it"
        )
    weights = Path(found.origin).parent / source.file
    if not weights.is_file() or _sha256(weights) != source.sha256:
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
            errors.seek(0)
            last = [line for line in errors.read().splitlines() if line.strip()][-1:]
            raise ModelError(f"{entry.id} could not be converted: {last[0] if last else f'status {status}'}")


def _stage(line: str) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and {"stage", "done"} <= told.keys() else None


def _write_manifest(part: Path, entry: Entry, source: Package) -> None:
    files = {
        path.name: ModelFile(path.stat().st_size, _sha256(path))
        for path in sorted(part.iterdir())
        if path.is_file()
    }
    digest = hashlib.sha256("".join(f"{name} {file.sha256}\n" for name, file in files.items()).encode())
    manifest = Manifest(entry.id, entry.revision, source.sha256, digest.hexdigest(), files)
    (part / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
