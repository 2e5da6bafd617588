"""How a client gets at the brokers: in the open, or by TLS and SASL/SCRAM."""

from __future__ import annotations

import ssl
from typing import Any

from msgspec import Struct

from app.settings import Settings, SettingsError

MECHANISM = "SCRAM-SHA-512"


class Access(Struct, frozen=True):
    """Protocol, user and password, and a file of certificates to trust instead of the system's."""

    security: str = "plaintext"
    user: str | None = None
    password: str | None = None
    ca: str | None = None

    def options(self) -> dict[str, Any]:
        """The same as options of an aiokafka client. Raises `SettingsError`."""
        found: dict[str, Any] = {"security_protocol": self.security.upper()}
        if self.security.startswith("sasl"):
            if not self.user or not self.password:
                raise SettingsError(
                    f"TUNESMITH_KAFKA_SECURITY is {self.security}, which needs "
                    "TUNESMITH_KAFKA_USER and TUNESMITH_KAFKA_PASSWORD"
                )
            found |= {
                "sasl_mechanism": MECHANISM,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        if self.security.endswith("ssl"):
            try:
                found["ssl_context"] = ssl.create_default_context(cafile=self.ca)
            except OSError as error:
                raise SettingsError(f"TUNESMITH_KAFKA_CA {self.ca} cannot be used: {error}") from error
        return found


OPEN = Access()


def access_of(settings: Settings) -> Access:
    """What the settings say."""
    return Access(settings.kafka_security, settings.kafka_user, settings.kafka_password, settings.kafka_ca)
