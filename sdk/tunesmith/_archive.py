"""An adapter's archive, unpacked whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from tunesmith._exceptions import APIError


def unpack(archive: IO[bytes], target: str | os.PathLike[str]) -> Path:
    """Unpack a tar.gz into the folder `target` and return it; nothing of a broken archive is left behind.

    A new or empty folder appears complete in one step. In one that holds something already, each file of the
    archive replaces its namesake. Raises `APIError` when the archive is broken or would write elsewhere.
    """
    folder = Path(target).expanduser().absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; name a folder for the adapter")
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _extract(archive, fresh)
        fresh.chmod(0o777 & ~_umask())
        if folder.is_dir() and any(folder.iterdir()):
            _move_into(fresh, folder)
        else:
            if folder.is_dir():
                folder.rmdir()
            fresh.replace(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _extract(archive: IO[bytes], into: Path) -> None:
    import tarfile  # here, since few calls need it and it takes a while to import

    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as packed:
            members = packed.getmembers()
            for member in members:
                # Before Python 3.10.12 there are no filters: plain files below the folder, nothing else.
                path = Path(member.name)
                if not (member.isfile() or member.isdir()) or path.is_absolute() or ".." in path.parts:
                    raise APIError(f"the adapter's archive holds {member.name!r}, which is refused")
            if not any(member.isfile() for member in members):
                raise APIError("the adapter's archive is empty")
            if hasattr(tarfile, "data_filter"):
                packed.extractall(into, members=members, filter="data")
            else:
                packed.extractall(into, members=members)  # noqa: S202 - looked at above
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # no room, no permission: the disk's trouble and not the archive's
        raise APIError(f"the adapter's archive is broken: {error}") from error


def _move_into(fresh: Path, folder: Path) -> None:
    for root, _, names in os.walk(fresh):
        there = folder / Path(root).relative_to(fresh)
        there.mkdir(exist_ok=True)
        for name in names:
            Path(root, name).replace(there / name)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
