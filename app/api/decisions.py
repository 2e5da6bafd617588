"""Commands sent for a request: their replies as answers, their refusals as errors."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request

from app.api.commands import VISIBLE_WITHIN, Unanswered
from app.api.errors import ApiError, invalid, unavailable
from app.api.schemas.errors import RequestFault
from app.api.session import Session
from app.log.codec import Reply
from app.log.port import LogError, RecordTooLarge

LONGEST_KEY = 255
STATUSES = {
    "not_found": 404,
    "idempotency_conflict": 409,
    "conflict": 409,
    "too_large": 413,
    "internal_error": 500,
}

logger = structlog.get_logger("api")


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """The request's `Idempotency-Key`. Raises `ApiError` 400 when it is unusable."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= LONGEST_KEY:
        raise invalid(
            [RequestFault("Idempotency-Key", f"an Idempotency-Key has 1 to {LONGEST_KEY} characters")]
        )
    return key


async def decided(
    session: Session, decider: Any, aggregate_id: str, command: Any, *, certain: bool
) -> tuple[Reply, bool]:
    """A command's reply, and whether the read model shows its effect. Raises `ApiError` when it was refused.

    `certain`: sent again, the command would be known as the same one.
    """
    commands = session.service.commands
    watch = commands.watch(aggregate_id)
    try:
        try:
            reply = await commands.ask(
                decider, aggregate_id, command, actor=session.caller.actor, request_id=session.request_id
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


def refusal(reply: Reply) -> ApiError:
    """The answer to a command that was decided against."""
    status = STATUSES.get(reply.code or "", 400)
    headers = {"x-should-retry": "false"} if status == 409 else None
    return ApiError(status, reply.code or "refused", reply.message or "refused", reply.param, headers=headers)
