"""The data folder of one installation: its layout, its version, and the lock that keeps a second run out."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from app.embedded.errors import DataDirError, DataDirLocked, DataDirVersion, DiskFull

VERSION = 1
LEAST_FREE_BYTES = 1024**3


class DataDir(Struct, frozen=True):
    """Where things are in the data folder `root`."""

    root: Path

    @property
    def kafka(self) -> Path:
        """The broker's log and its properties."""
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        """The database cluster and its password."""
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        """The object store, unless TUNESMITH_STORAGE names another."""
        return self.root / "objects"

    @property
    def work(self) -> Path:
        """Where attempts are worked on."""
        return self.root / "work"

    @property
    def logs(self) -> Path:
        """What the roles and their children print."""
        return self.root / "logs"

    @property
    def admin_key(self) -> Path:
        """The admin's API key, made on the first start."""
        return self.root / "admin.key"

    @property
    def installation_key(self) -> Path:
        """What webhook secrets derive from, made on the first start."""
        return self.root / "installation.key"

    @property
    def addresses(self) -> Path:
        """Where a running `up` is to be found: `app.embedded.addresses`."""
        return self.root / "addresses.json"


@contextmanager
def opened(root: Path, least_free_bytes: int = LEAST_FREE_BYTES) -> Iterator[DataDir]:
    """The folder, made if need be, checked and held alone. Raises `DataDirError`."""
    with held(root) as found:
        folder = DataDir(found)
        _check_version(folder)
        _check_space(folder, least_free_bytes)
        for made in (folder.logs, folder.objects, folder.work):
            made.mkdir(exist_ok=True)
        folder.addresses.unlink(missing_ok=True)
        try:
            yield folder
        finally:
            folder.addresses.unlink(missing_ok=True)


@contextmanager
def held(root: Path) -> Iterator[Path]:
    """A folder, made if need be, that nobody else holds; its full path. Raises `DataDirError`."""
    root = root.expanduser().resolve()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(
            f"data folder {root} cannot be used ({error.strerror}); name another --data-dir"
        ) from error
    try:
        try:
            # The kernel drops the lock with the process: a killed run leaves none behind.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            raise DataDirLocked(
                f"data folder {root} is in use by process {holder}; stop that one or name another --data-dir"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield root
    finally:
        os.close(lock)


def _check_version(folder: DataDir) -> None:
    marker = folder.root / "version"
    try:
        found = marker.read_text().strip()
    except FileNotFoundError:
        if folder.kafka.exists() or folder.postgres.exists():
            raise DataDirVersion(
                f"{folder.root} holds data but no version file; name another --data-dir"
            ) from None
        marker.write_text(f"{VERSION}\n")
        return
    if found != str(VERSION):
        raise DataDirVersion(
            f"data folder {folder.root} has version {found or '(none)'}, this release reads version "
            f"{VERSION}; use the release that made it, or name another --data-dir"
        )


def _check_space(folder: DataDir, least_free_bytes: int) -> None:
    free = shutil.disk_usage(folder.root).free
    if free < least_free_bytes:
        raise DiskFull(
            f"only {free // 1024**2} MiB are free at {folder.root}, {least_free_bytes // 1024**2} MiB are "
            "needed to start; free some or name another --data-dir"
        )
