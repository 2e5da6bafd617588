"""The data folder of one installation: its layout, its version, and the lock that keeps a second run out."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, json

from app.embedded.errors import DataDirError

VERSION = 1
LEAST_FREE_BYTES = 1024**3


class DataDir(Struct, frozen=True):
    """Where things are in the data folder `root`."""

    root: Path

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def admin_key(self) -> Path:
        return self.root / "admin.key"

    @property
    def addresses(self) -> Path:
        return self.root / "addresses.json"


class Addresses(Struct, frozen=True):
    """Where a running `up` is to be found."""

    pid: int
    kafka: str
    database: str
    api: str | None = None


@contextmanager
def opened(root: Path) -> Iterator[DataDir]:
    """The folder, made if need be, checked and held alone. Raises `DataDirError`."""
    root = root.expanduser().resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(f"data folder {root} cannot be used: {error.strerror}") from error
    try:
        try:
            # The kernel drops the lock with the process: a killed run leaves none behind.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            raise DataDirError(
                f"data folder {root} is in use by process {holder}; stop that one or name another --data-dir"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        folder = DataDir(root)
        _check_version(folder)
        _check_space(folder)
        for made in (folder.logs, folder.objects, folder.work):
            made.mkdir(exist_ok=True)
        folder.addresses.unlink(missing_ok=True)
        yield folder
    finally:
        os.close(lock)


def _check_version(folder: DataDir) -> None:
    marker = folder.root / "version"
    if not marker.exists():
        if folder.kafka.exists() or folder.postgres.exists():
            raise DataDirError(f"{folder.root} holds data but no version file; name another --data-dir")
        marker.write_text(f"{VERSION}\n")
    elif (found := marker.read_text().strip()) != str(VERSION):
        raise DataDirError(
            f"data folder {folder.root} has version {found}, this release reads version {VERSION}; "
            "use the release that made it, or name another --data-dir"
        )


def _check_space(folder: DataDir) -> None:
    free = shutil.disk_usage(folder.root).free
    if free < LEAST_FREE_BYTES:
        raise DataDirError(
            f"only {free // 1024**2} MiB are free at {folder.root}, {LEAST_FREE_BYTES // 1024**2} MiB are "
            "needed to start; free some or name another --data-dir"
        )


def write_addresses(folder: DataDir, addresses: Addresses) -> None:
    """Leave word for operator commands; only the owner may read it."""
    part = folder.addresses.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_bytes(json.encode(addresses))
    part.replace(folder.addresses)


def read_addresses(root: Path) -> Addresses | None:
    """Where the `up` of this data folder is; None when none runs."""
    try:
        addresses = json.decode((root / "addresses.json").read_bytes(), type=Addresses)
        os.kill(addresses.pid, 0)
    except (OSError, ProcessLookupError):
        return None
    return addresses
