"""What can be uploaded: a path, bytes, or an open binary file; whole or piece by piece."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

OnProgress = Callable[[int, int], object]
"""Called with the bytes sent so far and their number in all."""

CHUNK = 1024**2


class Hash(Protocol):
    """A digest that is being computed, of `hashlib`."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> Hash: ...


@dataclass(frozen=True)
class Source:
    """A file to upload: open, and `size` bytes from its beginning to its end."""

    file: IO[bytes]
    filename: str
    size: int


class Window:
    """A stretch of a source, as a file of its own, which counts and hashes what is read of it.

    It may be read again from its beginning: the digest is that of the last time. `before` is the digest of
    what lies before it.
    """

    def __init__(
        self,
        source: Source,
        start: int,
        length: int,
        before: Hash,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.length: int = min(length, source.size - start)
        self.digest: Hash = before.copy()
        self._source = source
        self._start = start
        self._before = before
        self._place = 0
        self._on_progress = on_progress

    @classmethod
    def over(cls, content: bytes) -> Window:
        """A window over all of some bytes."""
        size = len(content)
        return cls(Source(io.BytesIO(content), "", size), 0, size, hashlib.sha256())

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size` and never beyond the window."""
        left = self.length - self._place
        self._source.file.seek(self._start + self._place)
        chunk = self._source.file.read(left if size < 0 else min(size, left))
        self._place += len(chunk)
        self.digest.update(chunk)
        if chunk and self._on_progress is not None:
            self._on_progress(self._start + self._place, self._source.size)
        return chunk

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place within the window; back to its beginning, the digest begins anew."""
        self._place = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.length}[whence] + offset
        if self._place == 0:
            self.digest = self._before.copy()
        return self._place

    def tell(self) -> int:
        """The place within the window."""
        return self._place


def digest_of(source: Source, size: int) -> Hash:
    """The digest of the source's first `size` bytes."""
    window = Window(source, 0, size, hashlib.sha256())
    while window.read(CHUNK):
        pass
    return window.digest


@contextmanager
def opened(file: str | os.PathLike[str] | bytes | IO[bytes], filename: str | None) -> Iterator[Source]:
    """What is to be uploaded, open meanwhile. Raises OSError, TypeError, ValueError."""
    if isinstance(file, bytes):
        yield Source(io.BytesIO(file), filename or "upload.jsonl", len(file))
    elif isinstance(file, (str, os.PathLike)):
        path = Path(file)
        with path.open("rb") as opened_here:
            yield Source(opened_here, filename or path.name, _size(opened_here))
    else:
        if not hasattr(file, "read") or isinstance(file.read(0), str):
            raise TypeError(
                f"file is {type(file).__name__}: give a path, bytes, or a file opened with mode 'rb'"
            )
        if not file.seekable():
            raise ValueError("file cannot be read twice, as a retry may have to: give a path, or its bytes")
        name = getattr(file, "name", None)
        own = Path(name).name if isinstance(name, str) else "upload.jsonl"
        yield Source(file, filename or own, _size(file))


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)
