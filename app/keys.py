"""API keys made, and accounts and keys changed by the operator, through the log like everything else."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from app.domain.accounts import ACCOUNTS, Account, IssueKey, OpenAccount, RevokeKey, RotateKey, Scope
from app.domain.ids import derive_id
from app.log.asking import ask
from app.log.port import Log

OPERATOR = "system:operator"


class Refused(Exception):
    """The command was decided against; the sentence says why."""


def account_id(account: str) -> str:
    """The id of the account that was opened under this name, or that has this id."""
    return account if re.fullmatch(r"acct-[a-z2-7]{24}", account) else derive_id("acct", account)


def generate_api_key(prefix: str = "sk") -> str:
    """A new secret: 32 random bytes in URL-safe base64 behind the prefix."""
    return f"{prefix}-{secrets.token_urlsafe(32)}"


def hash_api_key(api_key: str) -> str:
    """What is kept of a key: its SHA-256, in hex."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def new_key(
    key_id: str, name: str, scopes: tuple[Scope, ...], expires_at: datetime | None = None
) -> tuple[IssueKey, str]:
    """The command for a new key, and its secret."""
    secret = generate_api_key()
    return IssueKey(key_id, hash_api_key(secret), name, scopes, expires_at), secret


def replacement(key_id: str, new_key_id: str, keep_seconds: int) -> tuple[RotateKey, str]:
    """The command for a key in place of another, and its secret."""
    secret = generate_api_key()
    return RotateKey(key_id, new_key_id, hash_api_key(secret), keep_seconds), secret


def random_key_id() -> str:
    """The id of a new key."""
    return derive_id("key", uuid4().hex)


async def issue(
    log: Log,
    account: str,
    name: str,
    scopes: tuple[Scope, ...],
    expires_at: datetime | None = None,
) -> tuple[str, str]:
    """A new key of the account (opened if need be): its id, and the secret, which is never seen again."""
    id = account_id(account)
    if id != account:
        await asked(log, id, OpenAccount(account))
    command, secret = new_key(random_key_id(), name, scopes, expires_at)
    await asked(log, id, command)
    return command.key_id, secret


async def rotate(log: Log, account: str, key_id: str, keep_seconds: int) -> tuple[str, str]:
    """A key in place of another: its id and secret. Raises `Refused`."""
    command, secret = replacement(key_id, random_key_id(), keep_seconds)
    await asked(log, account_id(account), command)
    return command.new_key_id, secret


async def revoke(log: Log, account: str, key_id: str) -> Account:
    """Make a key worthless. Raises `Refused`."""
    return await asked(log, account_id(account), RevokeKey(key_id))


async def ensure_admin(log: Log, file: Path) -> None:
    """On the first start, an admin key of the account `default`, in a file that only its owner reads."""
    if file.exists():
        return
    _, secret = await issue(log, "default", "admin", ("read", "write", "admin"))
    _write_secret(file, secret)


def ensure_installation_key(file: Path) -> str:
    """What webhook secrets derive from: made on the first start, the same ever after."""
    if not file.exists():
        _write_secret(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def _write_secret(file: Path, secret: str) -> None:
    """A secret in a file that only its owner reads; the file is whole or not there."""
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(secret + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)


async def asked(log: Log, id: str, body: Any) -> Account:
    """An account after the operator's command. Raises `Refused`."""
    reply = await ask(log, ACCOUNTS, id, body, actor=OPERATOR)
    if not reply.accepted:
        raise Refused(reply.message or "refused")
    return msgspec.json.decode(reply.state, type=Account)
