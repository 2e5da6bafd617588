"""What the brokers refuse for who asks, told as such."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
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


async def started(client: Any, options: Mapping[str, Any]) -> None:
    """Start a client made with these options. Refused for its password, aiokafka says it found no broker."""
    try:
        await client.start()
    except KafkaConnectionError:
        if "sasl_mechanism" in options:
            await _connect(options)
        raise


async def _connect(options: Mapping[str, Any]) -> None:
    """Connect to a broker by hand. Raises the refusal if it is one."""
    asked = {
        name: value for name, value in options.items() if name.startswith(("sasl_", "security_", "ssl_"))
    }
    for address in str(options["bootstrap_servers"]).split(","):
        host, _, port = address.rpartition(":")
        try:
            connection = await create_conn(host, int(port), **asked)
        except UNKNOWN_USERS:
            raise
        except (KafkaError, OSError, TimeoutError):
            continue
        connection.close()
        return
