"""How accounts look from outside."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace

from app.api.limits import limits_of
from app.api.schemas.keys import Label
from app.api.schemas.pages import seconds
from app.domain.accounts import Account, Limits
from app.settings import Settings

Quota = Annotated[int, Meta(ge=0, le=2**53)]


NAMED_AS_AN_ID = {"not": {"type": "string", "pattern": "^acct-[a-z2-7]{24}$"}}


class LimitsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits to set. 0: none; null: the installation's default; not named: as before."""

    running_tunings: Annotated[
        Quota | UnsetType | None, Meta(description="Attempts on workers at a time; more of them wait.")
    ] = UNSET
    waiting_tunings: Annotated[
        Quota | UnsetType | None, Meta(description="Pending tunings at a time; more are refused with 429.")
    ] = UNSET
    stored_bytes: Annotated[
        Quota | UnsetType | None, Meta(description="Bytes of uploads that are not deleted; more: 429.")
    ] = UNSET
    creates_per_minute: Annotated[
        Quota | UnsetType | None, Meta(description="Tunings created in any 60 seconds; more: 429.")
    ] = UNSET


class AccountRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to open."""

    name: Annotated[
        Label,
        Meta(description="No other account's, and unlike the id of one.", extra_json_schema=NAMED_AS_AN_ID),
    ]
    limits: Annotated[
        LimitsRequest | None,
        Meta(description="Limits of its own; what is not named is the installation's default."),
    ] = None


class AccountUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; what is not named stays."""

    name: Annotated[
        Label | None,
        Meta(
            description="Another name; no other account's, and unlike an id.",
            extra_json_schema=NAMED_AS_AN_ID,
        ),
    ] = None
    limits: Annotated[LimitsRequest | None, Meta(description="Limits to change.")] = None


class Usage(Struct, frozen=True, kw_only=True):
    """What an account has now, of what its limits bound."""

    running_tunings: Annotated[int, Meta(description="Tunings on workers.")] = 0
    waiting_tunings: Annotated[int, Meta(description="Pending tunings.")] = 0
    stored_bytes: Annotated[int, Meta(description="Bytes of uploads that are not deleted.")] = 0
    creates_last_minute: Annotated[
        int, Meta(description="Tunings that were created in the last 60 seconds.")
    ] = 0


class AccountObject(Struct, frozen=True, kw_only=True):
    """An account."""

    id: Annotated[str, Meta(description="Its id, `acct-…`.")]
    object: Literal["account"] = "account"
    name: Annotated[str, Meta(description="No other account's.")]
    created_at: Annotated[int | None, Meta(description="Unix seconds.")]
    suspended: Annotated[
        bool,
        Meta(description="Everything it asks for is 403, and what waits waits on; running tunings finish."),
    ]
    limits: Annotated[Limits, Meta(description="Its own. Null: the installation's default; 0: none.")]
    limits_in_force: Annotated[Limits, Meta(description="With the installation's defaults. 0: none.")]
    usage: Annotated[Usage, Meta(description="What it has now, of what its limits bound.")]


def account_view(account: Account, usage: Usage, settings: Settings) -> AccountObject:
    """The account object."""
    return AccountObject(
        id=account.id,
        name=account.name,
        created_at=seconds(account.created_at),
        suspended=account.suspended,
        limits=account.limits,
        limits_in_force=limits_of(account.limits, settings),
        usage=usage,
    )


def changed_limits(limits: Limits, asked: LimitsRequest | None) -> Limits:
    """The limits after a request."""
    named = {name: value for name, value in asdict(asked).items() if value is not UNSET} if asked else {}
    return replace(limits, **named)
