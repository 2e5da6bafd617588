"""Accounts and their API keys, of which only the SHA-256 is known here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from app.domain import webhooks
from app.domain.decider import Accepted, Context, Decider, Recorded, Rejection, not_found, wire_types
from app.domain.webhooks import Webhook

Scope = Literal["read", "write", "admin"]

MOST_VALID_KEYS = 200  # at a time
REMEMBERED_KEYS = (
    200  # that are valid no more: the state goes whole into every reply, and must not grow for ever
)


class Limits(Struct, frozen=True):
    """What an account may have at a time. None: as the installation has it; 0: any number.

    `running_tunings` counts attempts on workers, `waiting_tunings` pending tunings, `stored_bytes` uploads.
    """

    running_tunings: Annotated[int | None, Meta(description="Attempts on workers at a time.")] = None
    waiting_tunings: Annotated[int | None, Meta(description="Pending tunings at a time.")] = None
    stored_bytes: Annotated[int | None, Meta(description="Bytes of uploads that are not deleted.")] = None
    creates_per_minute: Annotated[int | None, Meta(description="Tunings created in any 60 seconds.")] = None


class OpenAccount(Struct, frozen=True):
    """Open an account; with `fresh`, one that is open already is refused, whatever its name."""

    name: str
    fresh: bool = False
    limits: Limits = Limits()


class RenameAccount(Struct, frozen=True):
    """Give the account another name; its id stays."""

    name: str


class SetLimits(Struct, frozen=True):
    """Set all of the account's limits, as `Limits` has them."""

    running_tunings: int | None = None
    waiting_tunings: int | None = None
    stored_bytes: int | None = None
    creates_per_minute: int | None = None


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


class RotateKey(Struct, frozen=True):
    """Replace a key by one of the same name, scopes and lifetime; the old one stays for `keep_seconds`."""

    key_id: str
    new_key_id: str
    sha256: str
    keep_seconds: int = 0


class SuspendAccount(Struct, frozen=True):
    """Refuse everything the account asks for from now on."""


class ReinstateAccount(Struct, frozen=True):
    """End a suspension."""


class Opened(Struct, frozen=True):
    """An account was opened."""

    name: str


class Renamed(Struct, frozen=True):
    """The account has another name."""

    name: str


class LimitsSet(Struct, frozen=True):
    """What the account may have at a time. None: as the installation has it; 0: any number."""

    running_tunings: int | None
    waiting_tunings: int | None
    stored_bytes: int | None
    creates_per_minute: int | None


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


class KeyRetired(Struct, frozen=True):
    """A key was replaced, and is worthless from `expires_at` on."""

    key_id: str
    expires_at: datetime


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

    def valid(self, at: datetime) -> bool:
        """Whether it is worth anything at that time."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)


class Account(Struct, frozen=True):
    """An account, its webhooks, every valid key it has, and the latest of those that are valid no more."""

    id: str
    name: str
    created_at: datetime
    suspended: bool = False
    keys: tuple[Key, ...] = ()
    limits: Limits = Limits()
    webhooks: tuple[Webhook, ...] = ()


def decide(account: Account | None, command: Any, context: Context) -> Accepted | Rejection:
    """Events for a command, or why not."""
    if account is not None and isinstance(command, webhooks.Command):
        return webhooks.decide(account.webhooks, command, context)
    match account, command:
        case None, OpenAccount(name=name, limits=limits):
            set_so = (LimitsSet(**asdict(limits)),) if limits != Limits() else ()
            return Accepted((Opened(name), *set_so))
        case None, _:
            return not_found("account", context)
        case Account(name=known), OpenAccount(name=name, fresh=fresh):
            if known == name and not fresh:
                return Accepted()
            return Rejection(
                "account_exists", f"account {context.aggregate_id} is open already, as {known!r}"
            )
        case Account(name=known), RenameAccount(name=name):
            return Accepted() if known == name else Accepted((Renamed(name),))
        case Account(limits=limits), SetLimits():
            given = asdict(command)
            return Accepted() if Limits(**given) == limits else Accepted((LimitsSet(**given),))
        case Account() as there, IssueKey():
            return _issue(there, command, context)
        case Account() as there, RotateKey():
            return _rotate(there, command, context)
        case Account() as there, RevokeKey(key_id=key_id):
            held = _held(there, key_id)
            if held is None:
                return _no_key(key_id, context)
            return Accepted() if held.revoked_at else Accepted((KeyRevoked(key_id),))
        case Account(suspended=suspended), SuspendAccount():
            return Accepted() if suspended else Accepted((Suspended(),))
        case Account(suspended=suspended), ReinstateAccount():
            return Accepted((Reinstated(),)) if suspended else Accepted()
    raise TypeError(f"not a command of accounts: {command!r}")


def _held(account: Account, key_id: str) -> Key | None:
    return next((key for key in account.keys if key.id == key_id), None)


def _no_key(key_id: str, context: Context) -> Rejection:
    return Rejection("not_found", f"account {context.aggregate_id} has no key {key_id}")


def _issue(account: Account, command: IssueKey, context: Context) -> Accepted | Rejection:
    if (held := _held(account, command.key_id)) is not None:
        same = held.sha256 == command.sha256
        return Accepted() if same else Rejection("conflict", f"key {command.key_id} exists already")
    if sum(key.valid(context.at) for key in account.keys) >= MOST_VALID_KEYS:
        message = f"an account may have {MOST_VALID_KEYS} keys at a time; revoke those that are not used"
        return Rejection("too_many_keys", message)
    issued = KeyIssued(command.key_id, command.sha256, command.name, command.scopes, command.expires_at)
    return Accepted((issued,))


def _rotate(account: Account, command: RotateKey, context: Context) -> Accepted | Rejection:
    """Issued and retired in one decision: there is no moment with neither key."""
    old = _held(account, command.key_id)
    if old is None:
        return _no_key(command.key_id, context)
    if not old.valid(context.at):
        return Rejection("key_not_valid", f"key {old.id} is revoked or expired; create a new one")
    if _held(account, command.new_key_id) is not None:
        return Rejection("conflict", f"key {command.new_key_id} exists already")
    expires_at = context.at + (old.expires_at - old.created_at) if old.expires_at else None
    issued = KeyIssued(command.new_key_id, command.sha256, old.name, old.scopes, expires_at)
    if command.keep_seconds == 0:
        return Accepted((issued, KeyRevoked(old.id)))
    until = context.at + timedelta(seconds=command.keep_seconds)
    return Accepted((issued, KeyRetired(old.id, min(until, old.expires_at or until))))


def evolve(account: Account | None, event: Any, recorded: Recorded) -> Account:
    """The account after `event`."""
    if isinstance(event, Opened):
        return Account(recorded.aggregate_id, event.name, recorded.at)
    assert account is not None
    if isinstance(event, webhooks.Event):
        return replace(account, webhooks=webhooks.evolve(account.webhooks, event, recorded))
    match event:
        case Renamed(name=name):
            return replace(account, name=name)
        case LimitsSet():
            return replace(account, limits=Limits(**asdict(event)))
        case KeyIssued():
            key = Key(event.key_id, event.sha256, event.name, event.scopes, recorded.at, event.expires_at)
            return replace(account, keys=(*_remembered(account.keys, recorded.at), key))
        case KeyRevoked(key_id=key_id):
            return _changed(account, key_id, revoked_at=recorded.at)
        case KeyRetired(key_id=key_id, expires_at=expires_at):
            return _changed(account, key_id, expires_at=expires_at)
        case Suspended():
            return replace(account, suspended=True)
        case Reinstated():
            return replace(account, suspended=False)
    raise TypeError(f"not an event of accounts: {event!r}")


def _remembered(keys: tuple[Key, ...], at: datetime) -> tuple[Key, ...]:
    """All but the oldest of those that are valid no more."""
    over = [key.id for key in keys if not key.valid(at)][:-REMEMBERED_KEYS]
    return tuple(key for key in keys if key.id not in over) if over else keys


def _changed(account: Account, key_id: str, **fields: Any) -> Account:
    keys = tuple(replace(key, **fields) if key.id == key_id else key for key in account.keys)
    return replace(account, keys=keys)


ACCOUNTS = Decider(
    stream="accounts",
    noun="account",
    state=Account,
    commands=wire_types(
        "account",
        OpenAccount,
        RenameAccount,
        SetLimits,
        IssueKey,
        RotateKey,
        RevokeKey,
        SuspendAccount,
        ReinstateAccount,
        *webhooks.COMMANDS,
    ),
    events=wire_types(
        "account",
        Opened,
        Renamed,
        LimitsSet,
        KeyIssued,
        KeyRetired,
        KeyRevoked,
        Suspended,
        Reinstated,
        *webhooks.EVENTS,
    ),
    decide=decide,
    evolve=evolve,
)
