"""What can be uploaded: a path, bytes, or an open binary file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tunesmith._call import Form


@contextmanager
def form_of(
    file: str | os.PathLike[str] | bytes | IO[bytes], filename: str | None, purpose: str
) -> Iterator[Form]:
    """The upload form of a file, which is open meanwhile. Raises OSError, TypeError, ValueError."""
    fields = {"purpose": purpose}
    if isinstance(file, bytes):
        yield Form(io.BytesIO(file), filename or "upload.jsonl", fields)
    elif isinstance(file, (str, os.PathLike)):
        path = Path(file)
        with path.open("rb") as opened:
            yield Form(opened, filename or path.name, fields)
    else:
        if not hasattr(file, "read") or isinstance(file.read(0), str):
            raise TypeError(
                f"file is {type(file).__name__}: give a path, bytes, or a file opened with mode 'rb'"
            )
        if not file.seekable():
            raise ValueError("file cannot be read twice, as a retry may have to: give a path, or its bytes")
        name = getattr(file, "name", None)
        own = Path(name).name if isinstance(name, str) else "upload.jsonl"
        yield Form(file, filename or own, fields)
