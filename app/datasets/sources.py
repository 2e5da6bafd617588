"""A file's bytes as lines, unpacked when it is gzip: counted, hashed, and never more than a file may hold."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO

from app.datasets.faults import RowFault

GZIP = b"\x1f\x8b"
BLOCK = 1024**2
# Text packs to a tenth, and very monotonous text to a fiftieth; only zeros without end pack to a thousandth.
LARGEST_RATIO = 200
RATIO_FREE = 64 * 1024**2
LARGEST_UNPACKED = 32 * 1024**3


class Unreadable(Exception):
    """The file cannot be read on; `fault` says why."""

    def __init__(self, fault: RowFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Source:
    """A file being read line by line; `bytes` and `sha256` are of the file itself, `unpacked` of its text."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read = _Counted(stream)
        packed = BufferedReader(self._read, BLOCK)  # type: ignore[type-var]
        self._packed = packed
        self.is_gzip = packed.peek(len(GZIP))[: len(GZIP)] == GZIP
        # Not buffered once more: what was unpacked before an error would be lost with it.
        self._text = gzip.GzipFile(fileobj=packed) if self.is_gzip else packed
        self.unpacked = 0

    def readline(self, limit: int, /) -> bytes:
        """The next line, at most `limit` bytes of it; nothing at the end. Raises `Unreadable`, `OSError`."""
        if not self.is_gzip:
            line = self._text.readline(limit)
            self.unpacked += len(line)
            return line
        try:
            line = self._text.readline(limit)
        except EOFError as error:
            fix = "pack the file again, or upload it again"
            said = "the gzip file breaks off behind this line"
            raise Unreadable(RowFault("gzip_truncated", "", said, fix)) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            said = f"the gzip file is broken behind this line: {error}"
            raise Unreadable(RowFault("gzip_broken", "", said, "pack the file again")) from error
        self.unpacked += len(line)
        self._bound()
        return line

    def _bound(self) -> None:
        if self.unpacked > LARGEST_UNPACKED:
            said = f"the file unpacks to more than {LARGEST_UNPACKED // 1024**3} GiB"
        elif self.unpacked > RATIO_FREE and self.unpacked > LARGEST_RATIO * self._read.bytes:
            said = f"the file unpacks to more than {LARGEST_RATIO} times its size"
        else:
            return
        raise Unreadable(RowFault("gzip_bomb", "", said, "split the file, or upload it unpacked"))

    def drain(self) -> None:
        """Read on to the end of the file itself, for its digest."""
        while self._packed.read(BLOCK):
            pass

    @property
    def bytes(self) -> int:
        """The file's size, as far as it was read."""
        return self._read.bytes

    @property
    def sha256(self) -> str:
        """The file's digest in hex, as far as it was read."""
        return self._read.digest.hexdigest()


class _Counted(RawIOBase):
    """Reads through to a stream, counts and hashes what it gives."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        count = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self.digest.update(memoryview(buffer)[:count])
        self.bytes += count
        return int(count)


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """A file for reading. Raises `OSError`."""
    with path.open("rb", buffering=0) as stream:
        yield Source(stream)
