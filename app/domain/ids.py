"""Ids: a prefix and 24 lowercase base32 characters, derived from a seed that the caller brings."""

from __future__ import annotations

import base64
import hashlib


def derive_id(prefix: str, *parts: str) -> str:
    """The id that belongs to `parts`: the same parts, the same id. Random ids pass random bytes as a part."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return f"{prefix}-{base64.b32encode(digest[:15]).decode().lower()}"
