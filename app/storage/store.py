"""Objects by key in the store that a URL names, by obstore."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import obstore
from msgspec import Struct
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from app.storage.hashing import hashed

PART_BYTES = 8 * 1024**2
PARTS_AT_ONCE = 3


class StorageError(Exception):
    """The object store did not take or give an object; the sentence says which and why."""


class ObjectMissing(StorageError):
    """There is no such object."""


class StorageFull(StorageError):
    """The object store has no room left."""


class Stored(Struct, frozen=True):
    """An object's size in bytes and its SHA-256 in hex."""

    bytes: int
    sha256: str


class Listed(Struct, frozen=True):
    """An object as a listing tells it."""

    key: str
    bytes: int
    modified: datetime


class Store:
    """Objects by key, under `url` (file://, s3://, gs://, az://)."""

    def __init__(self, url: str) -> None:
        self.url = url
        if url.startswith("file://"):
            Path(url.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
        self._store: ObjectStore = from_url(url)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Stored:
        """Store a stream in constant memory. Broken off, nothing is left and its error comes through."""
        digest, size = hashlib.sha256(), 0
        broken: Exception | None = None

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size, broken
            try:
                async for chunk in chunks:
                    await hashed(chunk, digest)
                    size += len(chunk)
                    yield chunk
            except Exception as error:
                broken = error  # the store would wrap it into an error of its own
                raise

        try:
            await obstore.put_async(
                self._store,
                key,
                counted(),
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except Exception as error:
            if broken is not None:
                raise broken from None
            if isinstance(error, (BaseError, OSError)):
                raise _not_stored(key, error) from error
            raise
        return Stored(size, digest.hexdigest())

    async def put_bytes(self, key: str, content: bytes) -> Stored:
        """Store a small object."""
        try:
            await obstore.put_async(self._store, key, content)
        except (BaseError, OSError) as error:
            raise _not_stored(key, error) from error
        return Stored(len(content), hashlib.sha256(content).hexdigest())

    async def put_file(self, key: str, path: Path) -> Stored:
        """Store a local file."""
        return await self.put(key, _chunks_of(path))

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            await obstore.head_async(self._store, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise StorageError(f"{key} could not be looked up: {error}") from error
        return True

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object's bytes in chunks. Raises `ObjectMissing` before the first."""
        try:
            found = await obstore.get_async(self._store, key)
            async for chunk in found.stream(min_chunk_size=1024**2):
                yield bytes(chunk)
        except FileNotFoundError as error:
            raise ObjectMissing(f"there is no object {key}") from error
        except (BaseError, OSError) as error:
            raise StorageError(f"{key} could not be read: {error}") from error

    async def get_bytes(self, key: str) -> bytes:
        """A small object, whole."""
        return b"".join([chunk async for chunk in self.stream(key)])

    async def digest(self, key: str) -> Stored:
        """The object's size and digest, as it lies there. Raises `ObjectMissing`."""
        digest, size = hashlib.sha256(), 0
        async for chunk in self.stream(key):
            await hashed(chunk, digest)
            size += len(chunk)
        return Stored(size, digest.hexdigest())

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """The object's bytes from `start` to before `end`. Raises `ObjectMissing`."""
        if end <= start:
            return b""
        try:
            return bytes(await obstore.get_range_async(self._store, key, start=start, end=end))
        except FileNotFoundError as error:
            raise ObjectMissing(f"there is no object {key}") from error
        except (BaseError, OSError) as error:
            raise StorageError(f"{key} could not be read: {error}") from error

    async def listed(self, prefix: str) -> AsyncIterator[Listed]:
        """Every object whose key begins with the path `prefix`, in no order."""
        try:
            async for batch in obstore.list(self._store, prefix, chunk_size=1000):
                for one in batch:
                    yield Listed(one["path"], one["size"], one["last_modified"])
        except (BaseError, OSError) as error:
            raise StorageError(f"{prefix} could not be listed: {error}") from error

    async def get_file(self, key: str, path: Path) -> Stored:
        """Copy an object to a local file; its size and digest as read."""
        digest, size = hashlib.sha256(), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            async for chunk in self.stream(key):
                await hashed(chunk, digest)
                size += len(chunk)
                out.write(chunk)
        return Stored(size, digest.hexdigest())

    async def keys(self, folder: str) -> list[str]:
        """Every key that begins with `folder`, which ends with a slash."""
        try:
            return [
                str(found["path"])
                async for some in obstore.list(self._store, prefix=folder)
                for found in some
            ]
        except (BaseError, OSError) as error:
            raise StorageError(f"{folder} could not be listed: {error}") from error

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is gone already."""
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StorageError(f"{key} could not be deleted: {error}") from error

    async def free_unfinished(self, prefix: str, before: datetime) -> int:
        """Remove what writes under `prefix` that broke off with their process left on a local disk; how many.

        No listing shows them. A cloud's store frees them by its own rule for unfinished multi-part uploads.
        """
        if not self.url.startswith("file://"):
            return 0
        try:
            return await asyncio.to_thread(
                _free_staged, Path(self.url.removeprefix("file://")) / prefix, before
            )
        except OSError as error:
            raise StorageError(f"{prefix} could not be freed: {error}") from error

    async def answers(self) -> None:
        """Write and read a few bytes. Raises `StorageError`."""
        await self.put_bytes("health", b"ok")
        if await self.get_bytes("health") != b"ok":
            raise StorageError("the object store gave back other bytes than it was given")


def _free_staged(folder: Path, before: datetime) -> int:
    freed = 0
    for path in folder.rglob("*#*"):
        if path.is_file() and path.stat().st_mtime < before.timestamp():
            path.unlink(missing_ok=True)
            freed += 1
    return freed


def _not_stored(key: str, error: Exception) -> StorageError:
    if os.strerror(errno.ENOSPC) in str(error):
        return StorageFull(f"{key} could not be stored: no room is left there; free some and try again")
    return StorageError(f"{key} could not be stored: {error}")


async def _chunks_of(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(PART_BYTES):
            yield chunk
