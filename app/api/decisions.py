"""Commands sent for a request: their replies as answers, their refusals as errors."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import structlog

from app.api.commands import VISIBLE_WITHIN, Unanswered
from app.api.errors import ApiError, unavailable
from app.api.session import Session
from app.domain.ids import derive_id
from app.log.codec import Reply
from app.log.port import LogError, RecordTooLarge

STATUSES = {
    "not_found": 404,
    "idempotency_conflict": 409,
    "conflict": 409,
    "account_exists": 409,
    "too_many_keys": 409,
    "too_many_webhooks": 409,
    "too_large": 413,
    "internal_error": 500,
}

logger = structlog.get_logger("api")


async def decided(
    session: Session, decider: Any, aggregate_id: str, command: Any, *, certain: bool
) -> tuple[Reply, bool]:
    """A command's reply, and whether the read model shows its effect. Raises `ApiError` when it was refused.

    `certain`: sent again, the command would be known as the same one. One that is sent for a request with an
    Idempotency-Key always is, by its id.
    """
    certain = certain or session.once is not None
    # The request's body may have come slowly, and the key been revoked meanwhile.
    await session.service.keys.readmit(session.caller, session.admitted_at)
    commands = session.service.commands
    watch = commands.watch(aggregate_id)
    try:
        try:
            reply = await commands.ask(
                decider,
                aggregate_id,
                command,
                id=made_id(session, "cmd", aggregate_id, type(command).__name__),
                actor=session.caller.actor,
                request_id=session.request_id,
            )
        except Unanswered as error:
            raise unavailable(
                f"it is not known yet whether the command took: {error}", retry=certain
            ) from error
        except RecordTooLarge as error:
            raise ApiError(413, "body_too_large", "the request is larger than the log takes") from error
        except LogError as error:
            logger.warning("command_unsent", error=str(error), command=type(command).__name__)
            raise unavailable("Kafka does not answer just now; try again", retry=certain) from error
        if not reply.accepted:
            raise refusal(reply)
        return reply, await commands.visible(aggregate_id, reply.version, watch, VISIBLE_WITHIN)
    finally:
        commands.unwatch(aggregate_id, watch)


def made_id(session: Session, prefix: str, *parts: str) -> str:
    """An id for what a request makes: of a repeated request the same, else a new one."""
    return derive_id(prefix, session.once, *parts) if session.once else derive_id(prefix, uuid4().hex)


def refusal(reply: Reply) -> ApiError:
    """The answer to a command that was decided against."""
    status = STATUSES.get(reply.code or "", 400)
    headers = {"x-should-retry": "false"} if status == 409 else None
    return ApiError(status, reply.code or "refused", reply.message or "refused", reply.param, headers=headers)
