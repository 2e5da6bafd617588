"""What the brokers refuse for who asks, told as such."""

from __future__ import annotations

from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from app.log.port import NotAuthorized

UNKNOWN_USERS = (AuthenticationFailedError, SaslAuthenticationFailed)
REFUSALS = (
    *UNKNOWN_USERS,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


def not_authorized(doing: str, error: BaseException) -> NotAuthorized:
    """The refusal in a sentence that says what to do."""
    if isinstance(error, UNKNOWN_USERS):
        return NotAuthorized(
            f"Kafka did not {doing}: it does not know the user, or the password is wrong; "
            "see TUNESMITH_KAFKA_USER and TUNESMITH_KAFKA_PASSWORD"
        )
    return NotAuthorized(
        f"Kafka did not {doing}: the user of this role may not do that ({type(error).__name__}); "
        "`tunesmith-server acls diff` tells what is missing"
    )
