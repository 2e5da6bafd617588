"""Digests that a client sends along with bytes, held against what came in."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from app.api.errors import ApiError

CONTENT_DIGEST = re.compile(r"(sha-256|sha-512)=:([A-Za-z0-9+/=]*):")
ALGORITHMS = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


class BodyDigest:
    """The digest of a request's body as it was announced in `content-digest`, and as it comes in."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        told = CONTENT_DIGEST.findall(headers.get("content-digest", ""))
        self._expected = [(ALGORITHMS[name](), value) for name, value in told]

    def update(self, chunk: bytes) -> None:
        """Take some of the body."""
        for digest, _ in self._expected:
            digest.update(chunk)

    def compare(self) -> None:
        """Refuse a body that is not the one announced. Raises `ApiError` 400."""
        for digest, value in self._expected:
            if base64.b64encode(digest.digest()).decode() != value:
                raise _mismatch("content-digest", f"the body's {digest.name}", value, digest.hexdigest())


def compare_sha256(sha256: str, *expected: tuple[str, Any]) -> None:
    """Hold a digest against what a client calls it, by parameter; None is not told. Raises `ApiError` 400."""
    for param, told in expected:
        if told is not None and told.strip().lower() != sha256:
            raise _mismatch(param, "the SHA-256 of the bytes", told.strip()[:128], sha256)


def compare_md5(md5: str, told: str | None) -> None:
    """The same for MD5, which OpenAI's clients send."""
    if told is not None and told.strip().lower() != md5:
        raise _mismatch("md5", "the MD5 of the bytes", told.strip()[:128], md5)


def _mismatch(param: str, what: str, told: str, found: str) -> ApiError:
    message = f"{what} is {found}, not {told}: they came in changed; send them again"
    return ApiError(400, "checksum_mismatch", message, param)
