"""Accounts, their keys, and what was done with them. Times are Unix seconds."""

from __future__ import annotations

from typing import ClassVar, TypedDict

from tunesmith._resource import Nested, Resource


class ApiKey(Resource):
    """A key of an account: `active`, `expired` or `revoked`.

    `key` is the secret `sk-…`, told once, by `create` and `rotate`.
    """

    id: str
    object: str
    name: str | None
    account: str | None
    scopes: list[str]
    status: str | None
    created_at: int | None
    expires_at: int | None
    revoked_at: int | None
    key: str | None

    _shown = ("id", "name", "scopes")


class Limits(TypedDict, total=False):
    """What an account may have; 0 is unlimited, None the installation's default."""

    running_tunings: int | None
    waiting_tunings: int | None
    stored_bytes: int | None
    creates_per_minute: int | None


class AccountLimits(Resource):
    """What an account may have; 0 is unlimited, None the installation's default."""

    running_tunings: int | None
    waiting_tunings: int | None
    stored_bytes: int | None
    creates_per_minute: int | None

    _shown = ("running_tunings", "waiting_tunings", "stored_bytes", "creates_per_minute")


class AccountUsage(Resource):
    """What an account has just now."""

    running_tunings: int | None
    waiting_tunings: int | None
    stored_bytes: int | None
    creates_last_minute: int | None

    _shown = ("running_tunings", "waiting_tunings", "stored_bytes")


class Account(Resource):
    """An account: what its keys make belongs to it, and no other account sees it.

    `limits` are its own, `limits_in_force` have the installation's defaults as well.
    """

    id: str
    object: str
    name: str | None
    created_at: int | None
    suspended: bool | None
    limits: AccountLimits | None
    limits_in_force: AccountLimits | None
    usage: AccountUsage | None

    _nested: ClassVar[Nested] = {
        "limits": AccountLimits,
        "limits_in_force": AccountLimits,
        "usage": AccountUsage,
    }
    _shown = ("id", "name")


class AuditEntry(Resource):
    """What was refused, changed something or handed out what is kept: who asked for what, about which thing.

    `outcome` is `done`, `refused` or `failed` (a 5xx, which may have taken all the same), `code` the
    refusal's; `action` is an operation's id, `actor` is `key:<id>` or `system:operator`; one entry stands for
    `count` alike.
    """

    id: str
    object: str
    at: int | None
    account: str | None
    actor: str | None
    action: str
    outcome: str
    status: int | None
    code: str | None
    target: str | None
    request_id: str | None
    address: str | None
    count: int | None

    _shown = ("id", "action", "outcome")
