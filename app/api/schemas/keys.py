"""How API keys look from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from app.api.schemas.pages import seconds
from app.domain.accounts import Account, Scope

TEN_YEARS = 10 * 366 * 86400
Label = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]

Lifetime = Annotated[int, Meta(ge=1, le=TEN_YEARS)]
AccountId = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$")]


class KeyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to create."""

    name: Annotated[Label, Meta(description="What it is for.")]
    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=3,
            description="`read`: look; `write`: make and change; `admin`: all of it, and manage accounts. "
            "A key can grant only what it has.",
        ),
    ]
    expires_in: Annotated[Lifetime | None, Meta(description="Seconds from now; without it, never.")] = None
    account: Annotated[AccountId | None, Meta(description="Id of another account; for admins.")] = None


class RotationRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a key is replaced."""

    keep_seconds: Annotated[
        int, Meta(ge=0, le=30 * 86400, description="How long the old key is good beside the new one.")
    ] = 0


class KeyObject(Struct, frozen=True, kw_only=True):
    """An API key; of the secret only its SHA-256 is kept."""

    id: Annotated[str, Meta(description="Its id, `key-…`; no secret.")]
    object: Literal["key"] = "key"
    name: Annotated[str, Meta(description="What it is for.")]
    scopes: Annotated[list[Scope], Meta(description="What it may do.")]
    account: Annotated[str, Meta(description="Id of the account that it belongs to.")]
    status: Annotated[Literal["active", "expired", "revoked"], Meta(description="Whether it is good.")]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    expires_at: Annotated[int | None, Meta(description="Unix seconds; null: never.")]
    revoked_at: Annotated[int | None, Meta(description="Unix seconds.")]
    key: Annotated[
        str | UnsetType | None,
        Meta(
            description="The secret, to be kept now: only creating and rotating tell it, once. Null where "
            "that answer is repeated for the same Idempotency-Key."
        ),
    ] = UNSET


def key_view(row: Any, now: datetime) -> KeyObject:
    """The key object of a row."""
    expires_at, revoked_at = row["expires_at"], row["revoked_at"]
    expired = expires_at is not None and expires_at <= now
    return KeyObject(
        id=row["id"],
        name=row["name"],
        scopes=list(row["scopes"]),
        account=row["account_id"],
        status="revoked" if revoked_at else "expired" if expired else "active",
        created_at=seconds(row["created_at"]),
        expires_at=seconds(expires_at),
        revoked_at=seconds(revoked_at),
    )


def held_key_view(account: Account, id: str, now: datetime) -> KeyObject:
    """The key object of a key that an account holds."""
    [key] = [key for key in account.keys if key.id == id]
    return key_view(asdict(key) | {"account_id": account.id}, now)
