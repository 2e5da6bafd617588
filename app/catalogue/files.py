"""A model's files: which ones count, their digests, and whether they still are what they were."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

MANIFEST = "tunesmith.json"
CHECKED_AGAIN = 24 * 3600.0  # bytes may rot on a disk without a trace in the file's times
WAITS = 0.2

WEIGHTS = "model*.safetensors"  # not `consolidated.safetensors`: the same once more
# All that is read of a model: nothing that could be a program, and nothing from folders within.
DESCRIPTION = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "*.safetensors.index.json",
)

OnProgress = Callable[[str], None]


def last_line(said: IO[str]) -> str | None:
    """The last line with anything in it of what a process said; None where there is none."""
    said.seek(0)
    return next((line for line in reversed(said.read().splitlines()) if line.strip()), None)


class ModelError(Exception):
    """A model's files cannot be had; the sentence says why and what to do.

    `code` is what a tuning fails with; when it is `retryable` the same may work later.
    """

    def __init__(self, message: str, code: str = "model_unreadable", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code, self.retryable = code, retryable


class Abandoned(Exception):
    """Nobody waits for the model any more."""


class ModelFile(Struct, frozen=True):
    """A file's size in bytes and its SHA-256 in hex."""

    bytes: int
    sha256: str


class Manifest(Struct, frozen=True):
    """What a folder of the cache holds; `digest` is the SHA-256 over names and digests of its files.

    `source_sha256` is that of the GGUF file it was made of; empty for a model of the hub or of a folder.
    """

    id: str
    revision: str
    source_sha256: str
    digest: str
    files: dict[str, ModelFile]


class Checked(Struct, frozen=True):
    """When files were last read whole and found good, in Unix seconds, and what their inodes said then."""

    at: float
    files: dict[str, tuple[int, int, int]]


def counted_files(folder: Path) -> list[Path]:
    """The files of a folder that make up a model, by name."""
    return sorted(path for path in folder.iterdir() if counts(path.name) and path.is_file())


def counts(name: str) -> bool:
    """Whether a file of this name is part of a model."""
    return fnmatch(name, WEIGHTS) or any(fnmatch(name, pattern) for pattern in DESCRIPTION)


def manifest_of(folder: Path, id: str, revision: str, source_sha256: str = "") -> Manifest:
    """A manifest of what lies in a folder now; reads all of it."""
    files = {path.name: ModelFile(path.stat().st_size, sha256_of(path)) for path in counted_files(folder)}
    return Manifest(id, revision, source_sha256, digest_of(files), files)


def digest_of(files: Mapping[str, ModelFile]) -> str:
    """The SHA-256 over names and digests."""
    lines = "".join(f"{name} {files[name].sha256}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_manifest(path: Path) -> Manifest | None:
    """A manifest; None if there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, whole or not at all."""
    _write(path, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")


def damaged(
    folder: Path, files: Mapping[str, ModelFile], checked: Path, *, wholly: bool = False
) -> list[str]:
    """The names of files that are not what the manifest says.

    Files that look as they did when they were last found good, noted in `checked`, are read again only once
    a day, or `wholly`.
    """
    now = {name: _stat(folder / name) for name in files}
    known = None if wholly else _read_checked(checked)
    if known is not None and known.files == now and 0 <= time.time() - known.at < CHECKED_AGAIN:
        return []
    bad = [name for name, file in files.items() if not _is(folder / name, file)]
    if not bad:
        with suppress(OSError):  # then the next one reads them again
            _write(checked, msgspec.json.encode(Checked(time.time(), now)))
    return bad


def checked_of(folder: Path) -> Path:
    """Where it is noted that the files of a folder were found good."""
    return folder.with_name(f"{folder.name}.checked")


@contextmanager
def locked(
    path: Path, what: str, on_progress: OnProgress, abandoned: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Hold a lock among all processes of the machine. Raises `Abandoned` when nobody waits any more."""
    with path.open("w") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    on_progress(what)
                    told = True
                if abandoned():
                    raise Abandoned from None
                time.sleep(WAITS)
        yield


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is(path: Path, file: ModelFile) -> bool:
    try:
        return path.stat().st_size == file.bytes and sha256_of(path) == file.sha256
    except OSError:
        return False


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino


def _read_checked(path: Path) -> Checked | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Checked)
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)
