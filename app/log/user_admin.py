"""Making each role's user on the brokers, with the password that a file of its name holds.

Passwords are sent salted and hashed (SCRAM-SHA-512, RFC 5802): no broker learns them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from app.log.access import OPEN, Access
from app.log.kafka_clients import administrator
from app.log.port import NotAuthorized

ADMIN_WITHIN = 30.0
SHA_512 = 2
ITERATIONS = 8_192  # Kafka takes 4,096 to 16,384
NO_SUCH_USER = 91
NAME = CompactString("utf-8")
TAGS = ("tags", TaggedFields)


async def found(bootstrap: str, access: Access = OPEN) -> set[str]:
    """The users that the brokers know a SCRAM-SHA-512 password of. Raises `LogError`."""
    async with _admin(bootstrap, access) as admin:
        answer = await admin._send_to_controller(DescribeUsers())
        _check(answer.error_code, answer.error_message, "the users")
        return {
            user
            for user, code, _, credentials, _ in answer.results
            if code != NO_SUCH_USER and any(mechanism == SHA_512 for mechanism, *_ in credentials)
        }


async def apply(bootstrap: str, passwords: Mapping[str, str], access: Access = OPEN) -> None:
    """Make these users, or give them these passwords anew. Raises `LogError`."""
    await _altered(bootstrap, AlterUsers((), passwords), access)


async def delete(bootstrap: str, users: Iterable[str], access: Access = OPEN) -> None:
    """Forget the passwords of those of these users that are known. Raises `LogError`."""
    await _altered(bootstrap, AlterUsers(await found(bootstrap, access) & set(users), {}), access)


async def _altered(bootstrap: str, request: AlterUsers, access: Access) -> None:
    async with _admin(bootstrap, access) as admin:
        answer = await admin._send_to_controller(request)
        for user, code, message, _ in answer.results:
            _check(code, message, user)


def passwords_in(folder: Path, users: set[str]) -> dict[str, str]:
    """The password of each user out of its file, which is made, for its owner alone, where it is missing.

    Raises `OSError`, or `ValueError` for a file that is empty.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = {}
    for user in sorted(users):
        file = folder / user
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(32) + "\n")
        passwords[user] = file.read_text().strip()
        if not passwords[user]:
            raise ValueError(f"{file} is empty; delete it, and a password is made up")
    return passwords


def _admin(bootstrap: str, access: Access) -> AbstractAsyncContextManager[AIOKafkaAdminClient]:
    options = {"bootstrap_servers": bootstrap, **access.options()}
    return administrator(options, "tell or change users", ADMIN_WITHIN)


def _check(code: int, message: str | None, what: str) -> None:
    if code:
        error = for_code(code)
        raise NotAuthorized(f"{what}: {error.__name__}: {message or error.description}")


# aiokafka has neither of these requests (KIP-554).


class _DescribedUsers(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 50, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", NAME),
        (
            "results",
            CompactArray(
                ("user", NAME),
                ("error_code", Int16),
                ("error_message", NAME),
                ("credentials", CompactArray(("mechanism", Int8), ("iterations", Int32), TAGS)),
                TAGS,
            ),
        ),
        TAGS,
    )


class _DescribeUsers(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION, RESPONSE_TYPE = 50, 0, _DescribedUsers
    SCHEMA = Schema(("users", CompactArray(("name", NAME), TAGS)), TAGS)


class DescribeUsers(Request[_DescribeUsers]):  # type: ignore[misc]
    """Asks for every user. A null would mean the same, but a broker that refuses it never answers."""

    API_KEY = 50

    def build(self, request_struct_class: type[_DescribeUsers]) -> Any:
        return request_struct_class([], {})


class _AlteredUsers(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 51, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", CompactArray(("user", NAME), ("error_code", Int16), ("error_message", NAME), TAGS)),
        TAGS,
    )


class _AlterUsers(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION, RESPONSE_TYPE = 51, 0, _AlteredUsers
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", NAME), ("mechanism", Int8), TAGS)),
        (
            "upsertions",
            CompactArray(
                ("name", NAME),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                TAGS,
            ),
        ),
        TAGS,
    )


class AlterUsers(Request[_AlterUsers]):  # type: ignore[misc]
    """Deletes users, and gives others their passwords."""

    API_KEY = 51

    def __init__(self, deleted: Iterable[str], passwords: Mapping[str, str]) -> None:
        self._deleted, self._passwords = deleted, passwords

    def build(self, request_struct_class: type[_AlterUsers]) -> Any:
        upsertions: list[tuple[Any, ...]] = []
        for user, password in self._passwords.items():
            salt = secrets.token_bytes(32)
            salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
            upsertions.append((user, SHA_512, ITERATIONS, salt, salted, {}))
        return request_struct_class([(user, SHA_512, {}) for user in self._deleted], upsertions, {})
