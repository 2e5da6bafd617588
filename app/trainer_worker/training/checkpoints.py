"""A checkpoint as a folder: whole and as it was written, or none at all. What lies in it is others' affair.

It is written beside its place and gets its name when everything is on disk; its manifest lists size and
SHA-256 of every file. The names of a run's checkpoints are in their order.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from app.storage.keys import MANIFEST

FORMAT = 1
UNFINISHED = "unfinished-"
SPARE_BYTES = 16 * 1024**2  # left free on the disk for whatever else is written there
AT_ONCE = 1024**2

Part = Callable[[Any], object]  # writes itself to what it is given, by `write`


class NoCheckpoint(Exception):
    """A folder is no whole checkpoint; the sentence says why."""


class FileOf(Struct, frozen=True):
    """A file of a checkpoint: its size and SHA-256."""

    bytes: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What a checkpoint is. `run` is a digest of what the run depends on: it is none for any other run.

    It stands after `step` optimizer steps and, if it was written while these were evaluated, after so many
    batches of the evaluation. `epoch` and `batch` say where that is in the data: whole epochs, and batches of
    the next.
    """

    format: int = FORMAT
    run: str
    step: int
    evaluated: int | None = None
    epoch: int
    batch: int
    files: dict[str, FileOf] = {}

    @property
    def name(self) -> str:
        """Its folder's: those that were written later have later names."""
        return f"{self.step:010d}-" + ("whole" if self.evaluated is None else f"{self.evaluated:08d}")


class Written(Struct, frozen=True):
    """A checkpoint in its folder; `bytes` of all files, `sha256` of the manifest."""

    folder: Path
    manifest: Manifest
    bytes: int
    sha256: str


def write(base: Path, manifest: Manifest, parts: Mapping[str, Part], expected: int = 0) -> Written:
    """Write a checkpoint of these parts, in all about as large as `expected`. Raises `OSError`.

    What lies under its name already is kept if it is whole.
    """
    base.mkdir(parents=True, exist_ok=True)
    place, unfinished = base / manifest.name, base / (UNFINISHED + manifest.name)
    if place.exists():
        try:
            return read(place)
        except NoCheckpoint:
            shutil.rmtree(place)
    if shutil.disk_usage(base).free < expected + SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(base))
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        files = {name: _written(unfinished / name, part) for name, part in parts.items()}
        whole = msgspec.structs.replace(manifest, files=files)
        text = msgspec.json.format(msgspec.json.encode(whole), indent=1)
        _written(unfinished / MANIFEST, lambda out: out.write(text))
        _sync(unfinished)
        unfinished.rename(place)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync(base)
    return _of(place, whole, text)


def read(folder: Path) -> Written:
    """The checkpoint in a folder, every byte of it looked at. Raises `NoCheckpoint`."""
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = read_manifest(text)
        for name, wanted in manifest.files.items():
            if (found := _found(folder / name)) != wanted:
                raise NoCheckpoint(f"{name} has {found.bytes} bytes, digest {found.sha256}, not {wanted}")
    except OSError as error:
        raise NoCheckpoint(f"{error.filename}: {error.strerror}") from error
    return _of(folder, manifest, text)


def read_manifest(text: bytes) -> Manifest:
    """A manifest from its bytes. Raises `NoCheckpoint`."""
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise NoCheckpoint(f"its manifest cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise NoCheckpoint(f"it has format {manifest.format}, and this version reads {FORMAT}")
    if any(Path(name).name != name or name == MANIFEST for name in manifest.files):
        raise NoCheckpoint("its manifest names files outside its folder")
    return manifest


def newest_first(base: Path) -> Iterator[Path]:
    """The folders that may be checkpoints."""
    if base.is_dir():
        found = [one for one in base.iterdir() if one.is_dir() and not one.name.startswith(UNFINISHED)]
        yield from sorted(found, key=lambda one: one.name, reverse=True)


def newest(base: Path, run: str | None, skipped: Callable[[Path, str], None]) -> Written | None:
    """The newest whole checkpoint of this run, or of any; `skipped` hears of those before it, and why."""
    for folder in newest_first(base):
        try:
            found = read(folder)
        except NoCheckpoint as error:
            skipped(folder, str(error))
            continue
        if run is None or found.manifest.run == run:
            return found
        skipped(folder, "it is of a run with another plan")
    return None


def keep_newest(base: Path, count: int) -> None:
    """Remove all but so many of the newest. A manifest goes first: what is half removed is no checkpoint."""
    for folder in list(newest_first(base))[count:]:
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


class _Counted:
    """A file that counts and hashes what is written to it, and remembers the error that broke it."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._digest, self._bytes = out, hashlib.sha256(), 0
        self.broken: OSError | None = None

    def write(self, chunk: Any) -> int:
        try:
            self._out.write(chunk)
        except OSError as error:
            self.broken = error
            raise
        view = memoryview(chunk)
        self._digest.update(view)
        self._bytes += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        self._out.flush()

    @property
    def file(self) -> FileOf:
        return FileOf(self._bytes, self._digest.hexdigest())


def _written(path: Path, part: Part) -> FileOf:
    with path.open("wb") as out:
        counted = _Counted(out)
        try:
            part(counted)
        except Exception:
            if counted.broken is not None:  # what writes tensors makes an error of its own of it
                raise counted.broken from None
            raise
        out.flush()
        os.fsync(out.fileno())
    return counted.file


def _found(path: Path) -> FileOf:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source:
        while chunk := source.read(AT_ONCE):
            digest.update(chunk)
            size += len(chunk)
    return FileOf(size, digest.hexdigest())


def _of(folder: Path, manifest: Manifest, text: bytes) -> Written:
    size = len(text) + sum(one.bytes for one in manifest.files.values())
    return Written(folder, manifest, size, hashlib.sha256(text).hexdigest())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
