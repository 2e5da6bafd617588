"""Word that a running `up` leaves in its data folder, for operator commands to attach to it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
from msgspec import DecodeError, Struct, json

from app.embedded.data_dir import DataDir


class Addresses(Struct, frozen=True):
    """Where a running `up` is to be found; `database` holds the password."""

    pid: int
    kafka: str
    database: str
    api: str | None = None


def write_addresses(folder: DataDir, addresses: Addresses) -> None:
    """Leave word; only the owner may read it."""
    part = folder.addresses.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(json.encode(addresses))
    part.replace(folder.addresses)


def read_addresses(root: Path) -> Addresses | None:
    """Where the `up` of this data folder is; None when none runs."""
    try:
        addresses = json.decode((root.expanduser() / "addresses.json").read_bytes(), type=Addresses)
    except (OSError, DecodeError):
        return None
    return addresses if psutil.pid_exists(addresses.pid) else None
