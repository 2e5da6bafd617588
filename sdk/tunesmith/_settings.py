"""Where the service is and with which key: arguments first, then the environment."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import cache

import httpx

from tunesmith._exceptions import AuthenticationError

DEFAULT_BASE_URL = "http://localhost:8000"
DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_RETRIES = 3


def chosen_base_url(given: str | None, env: Mapping[str, str] = os.environ) -> str:
    """The service's address without a trailing slash. Raises ValueError when it is no http(s) address."""
    url = (given or env.get("TUNESMITH_BASE_URL") or DEFAULT_BASE_URL).strip()
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"base_url is {url!r}: it must begin with http:// or https://")
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url is {url!r}: {error}") from error
    if not host:
        raise ValueError(f"base_url is {url!r}: it names no host")
    # Clients of this kind often want the version in the address; here each path has it.
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def chosen_api_key(given: str | None, env: Mapping[str, str] = os.environ) -> str:
    """The key to send. Raises `AuthenticationError` without one, ValueError when no header can carry it."""
    key = (given or env.get("TUNESMITH_API_KEY") or "").strip()
    if not key:
        raise AuthenticationError("no API key: pass api_key, or set TUNESMITH_API_KEY")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("api_key holds characters that no key has: was it copied whole, and alone?")
    return key


def checked_attempts(max_retries: int) -> int:
    """`max_retries` as given. Raises ValueError below 1."""
    if max_retries < 1:
        raise ValueError(f"max_retries is {max_retries}: it counts all tries, so it must be at least 1")
    return max_retries


@cache
def ssl_context() -> ssl.SSLContext:
    """httpx's own way to check certificates, made once: it takes longer than a call."""
    return httpx.create_ssl_context()
