"""Secrets and signatures as Standard Webhooks has them.

A secret is derived from the installation's key, so that it lies neither on the log nor in the database.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from datetime import datetime

PREFIX = "whsec_"


def secret_of(installation_key: str, webhook_id: str, generation: int) -> str:
    """An endpoint's secret of a generation."""
    derived = f"webhook\0{webhook_id}\0{generation}".encode()
    return PREFIX + b64encode(hmac.digest(installation_key.encode(), derived, hashlib.sha256)).decode()


def signatures(
    installation_key: str,
    webhook_id: str,
    generation: int,
    previous_until: datetime | None,
    *,
    id: str,
    at: datetime,
    payload: str,
) -> str:
    """The header `webhook-signature`: by the secret, and for a while after a rotation by the old one too."""
    generations = [generation]
    if previous_until is not None and at < previous_until:
        generations.append(generation - 1)
    secrets = [secret_of(installation_key, webhook_id, each) for each in generations]
    return " ".join(signature(secret, id, int(at.timestamp()), payload) for secret in secrets)


def signature(secret: str, id: str, timestamp: int, payload: str) -> str:
    """One signature of a message with that id and time."""
    signed = f"{id}.{timestamp}.{payload}".encode()
    key = b64decode(secret.removeprefix(PREFIX))
    return "v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
