"""How the audit log looks from outside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.api.schemas.pages import seconds


class AuditEntry(Struct, frozen=True, kw_only=True):
    """What was refused, what changed something or handed out what is kept, and what the operator did."""

    id: Annotated[str, Meta(description="Its id.")]
    object: Literal["audit.entry"] = "audit.entry"
    at: Annotated[int | None, Meta(description="Unix seconds.")]
    account: Annotated[str | None, Meta(description="Whose key it was; null where that is not known.")]
    actor: Annotated[
        str | None, Meta(description="`key:<id>` or `system:operator`; null where that is not known.")
    ]
    action: Annotated[
        str,
        Meta(
            description="The operation's id, as in this document; `noOperation` for an unknown route or "
            "method, and for what was no HTTP; `rebuildProjections` is the operator's alone."
        ),
    ]
    outcome: Annotated[
        Literal["done", "refused", "failed"],
        Meta(description="`failed`: answered with 5xx, and it may have taken all the same."),
    ]
    status: Annotated[int, Meta(description="Of the answer.")]
    code: Annotated[str | None, Meta(description="Of the refusal.")]
    target: Annotated[str | None, Meta(description="Id of what it was about, or of what it made.")]
    request_id: Annotated[str, Meta(description="`x-request-id` of the answer.")]
    address: Annotated[str | None, Meta(description="Where the request came from.")]
    count: Annotated[
        int, Meta(description="For how many refusals or downloads alike within a minute this one stands.")
    ]


def audit_view(row: Any) -> AuditEntry:
    """The entry of a row."""
    return AuditEntry(
        id=row["id"],
        at=seconds(row["at"]),
        account=row["account_id"],
        actor=row["actor"],
        action=row["action"],
        outcome=row["outcome"],
        status=row["status"],
        code=row["code"],
        target=row["target"],
        request_id=row["request_id"],
        address=row["address"],
        count=row["count"],
    )
