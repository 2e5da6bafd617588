"""Accounts and their API keys, of which only the SHA-256 is known here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from app.domain.decider import Accepted, Context, Decider, Recorded, Rejection, not_found, wire_types

Scope = Literal["read", "write", "admin"]


class OpenAccount(Struct, frozen=True):
    """Open an account."""

    name: str


class IssueKey(Struct, frozen=True):
    """Give the account a key. `sha256` is the hex digest of the whole key."""

    key_id: str
    sha256: str
    name: str = ""
    scopes: tuple[Scope, ...] = ("read", "write")
    expires_at: datetime | None = None


class RevokeKey(Struct, frozen=True):
    """Make a key worthless."""

    key_id: str


class SuspendAccount(Struct, frozen=True):
    """Refuse everything the account asks for from now on."""


class ReinstateAccount(Struct, frozen=True):
    """End a suspension."""


class Opened(Struct, frozen=True):
    """An account was opened."""

    name: str


class KeyIssued(Struct, frozen=True):
    """A key was issued; of the key only its SHA-256 is known."""

    key_id: str
    sha256: str
    name: str
    scopes: tuple[Scope, ...]
    expires_at: datetime | None


class KeyRevoked(Struct, frozen=True):
    """A key is worthless."""

    key_id: str


class Suspended(Struct, frozen=True):
    """Everything the account asks for is refused."""


class Reinstated(Struct, frozen=True):
    """The suspension ended."""


class Key(Struct, frozen=True):
    """An API key as far as it is known: never the secret."""

    id: str
    sha256: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Account(Struct, frozen=True):
    """An account and every key it ever had."""

    id: str
    name: str
    created_at: datetime
    suspended: bool = False
    keys: tuple[Key, ...] = ()


def decide(account: Account | None, command: Any, context: Context) -> Accepted | Rejection:
    """Events for a command, or why not."""
    match account, command:
        case None, OpenAccount(name=name):
            return Accepted((Opened(name),))
        case None, _:
            return not_found("account", context)
        case Account(name=known), OpenAccount(name=name):
            if known == name:
                return Accepted()
            return Rejection("conflict", f"account {context.aggregate_id} is open already, as {known!r}")
        case Account(keys=keys), IssueKey():
            if any(key.id == command.key_id for key in keys):
                same = any(key.id == command.key_id and key.sha256 == command.sha256 for key in keys)
                return Accepted() if same else Rejection("conflict", f"key {command.key_id} exists already")
            issued = KeyIssued(
                command.key_id, command.sha256, command.name, command.scopes, command.expires_at
            )
            return Accepted((issued,))
        case Account(keys=keys), RevokeKey(key_id=key_id):
            held = next((key for key in keys if key.id == key_id), None)
            if held is None:
                return Rejection("not_found", f"account {context.aggregate_id} has no key {key_id}")
            return Accepted() if held.revoked_at else Accepted((KeyRevoked(key_id),))
        case Account(suspended=suspended), SuspendAccount():
            return Accepted() if suspended else Accepted((Suspended(),))
        case Account(suspended=suspended), ReinstateAccount():
            return Accepted((Reinstated(),)) if suspended else Accepted()
    raise TypeError(f"not a command of accounts: {command!r}")


def evolve(account: Account | None, event: Any, recorded: Recorded) -> Account:
    """The account after `event`."""
    if isinstance(event, Opened):
        return Account(recorded.aggregate_id, event.name, recorded.at)
    assert account is not None
    match event:
        case KeyIssued():
            key = Key(event.key_id, event.sha256, event.name, event.scopes, recorded.at, event.expires_at)
            return msgspec.structs.replace(account, keys=(*account.keys, key))
        case KeyRevoked(key_id=key_id):
            keys = tuple(
                msgspec.structs.replace(key, revoked_at=recorded.at) if key.id == key_id else key
                for key in account.keys
            )
            return msgspec.structs.replace(account, keys=keys)
        case Suspended():
            return msgspec.structs.replace(account, suspended=True)
        case Reinstated():
            return msgspec.structs.replace(account, suspended=False)
    raise TypeError(f"not an event of accounts: {event!r}")


ACCOUNTS = Decider(
    stream="accounts",
    noun="account",
    state=Account,
    commands=wire_types("account", OpenAccount, IssueKey, RevokeKey, SuspendAccount, ReinstateAccount),
    events=wire_types("account", Opened, KeyIssued, KeyRevoked, Suspended, Reinstated),
    decide=decide,
    evolve=evolve,
)
