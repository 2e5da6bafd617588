"""Digests of bytes that pass through, counted away from the event loop where that takes long."""

from __future__ import annotations

import asyncio
from typing import Any

SMALL = 128 * 1024  # a thread would take longer to be reached than this to be hashed


async def hashed(chunk: bytes, *digests: Any) -> None:
    """Take some bytes into digests of hashlib's, in the order of the calls."""
    if len(chunk) <= SMALL:
        _update(chunk, digests)
    else:
        await asyncio.to_thread(_update, chunk, digests)


def _update(chunk: bytes, digests: tuple[Any, ...]) -> None:
    for digest in digests:
        digest.update(chunk)
