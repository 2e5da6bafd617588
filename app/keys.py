"""API keys made, listed and revoked by the operator, through the log like everything else."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from uuid import uuid4

import msgspec

from app.domain.accounts import ACCOUNTS, Account, IssueKey, OpenAccount, RevokeKey, Scope
from app.domain.ids import derive_id
from app.log.asking import ask
from app.log.port import Log

OPERATOR = "system:operator"


class Refused(Exception):
    """The command was decided against; the sentence says why."""


def account_id(name: str) -> str:
    """The id of the account of that name."""
    return derive_id("acct", name)


def generate_api_key(prefix: str = "sk") -> str:
    """A new secret: 32 random bytes in URL-safe base64 behind the prefix."""
    return f"{prefix}-{secrets.token_urlsafe(32)}"


def hash_api_key(api_key: str) -> str:
    """What is kept of a key: its SHA-256, in hex."""
    return hashlib.sha256(api_key.encode()).hexdigest()


async def issue(log: Log, account: str, name: str, scopes: tuple[Scope, ...]) -> tuple[str, str]:
    """A new key of the account (opened if need be): its id, and the secret, which is never seen again."""
    id = account_id(account)
    await _asked(log, id, OpenAccount(account))
    secret, key_id = generate_api_key(), derive_id("key", uuid4().hex)
    await _asked(log, id, IssueKey(key_id, hash_api_key(secret), name, scopes))
    return key_id, secret


async def revoke(log: Log, account: str, key_id: str) -> Account:
    """Make a key worthless. Raises `Refused`."""
    return await _asked(log, account_id(account), RevokeKey(key_id))


async def ensure_admin(log: Log, file: Path) -> None:
    """On the first start, an admin key of the account `default`, in a file that only its owner reads."""
    if file.exists():
        return
    _, secret = await issue(log, "default", "admin", ("read", "write", "admin"))
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secret + "\n")
    part.rename(file)


async def _asked(log: Log, id: str, body: object) -> Account:
    reply = await ask(log, ACCOUNTS, id, body, actor=OPERATOR)
    if not reply.accepted:
        raise Refused(reply.message or "refused")
    return msgspec.json.decode(reply.state, type=Account)
