"""Making the declared permissions on the brokers, and telling how theirs differ from them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from msgspec import Struct

from app.log.access import OPEN, Access
from app.log.acls import ANY_HOST, Acl
from app.log.kafka_clients import administrator
from app.log.port import NotAuthorized, Unavailable

ADMIN_WITHIN = 30.0
ANY, ALLOW = 1, 3
SECURITY_DISABLED = 54


class Difference(Struct, frozen=True):
    """Permissions that are missing on the brokers, and those there that nobody declared."""

    missing: list[Acl]
    foreign: list[Acl]


async def difference(bootstrap: str, declared: Iterable[Acl], access: Access = OPEN) -> Difference:
    """How the brokers' permissions differ from the declared ones. Raises `LogError`."""
    async with _admin(bootstrap, access) as admin:
        return _compared(await _found(admin), declared)


async def apply(
    bootstrap: str, declared: Iterable[Acl], access: Access = OPEN, *, prune: bool = False
) -> Difference:
    """Grant what is missing, with `prune` withdraw what is foreign; what differed. Raises `LogError`."""
    async with _admin(bootstrap, access) as admin:
        found = _compared(await _found(admin), declared)
        for acl in found.missing:
            answer = await _sent(admin, CreateAclsRequest(*_parts(acl)))
            for code, message in answer.creation_responses:
                _check(code, message, str(acl))
        for acl in found.foreign if prune else ():
            answer = await _sent(admin, DeleteAclsRequest(*_parts(acl)))
            for code, message, *_ in answer.filter_responses:
                _check(code, message, str(acl))
        return found


def _compared(found: set[Acl], declared: Iterable[Acl]) -> Difference:
    wanted = set(declared)
    return Difference(sorted(wanted - found), sorted(found - wanted))


def _parts(acl: Acl) -> tuple[Any, ...]:
    return acl.resource, acl.name, acl.pattern, acl.principal, ANY_HOST, acl.operation, ALLOW


def _admin(bootstrap: str, access: Access) -> AbstractAsyncContextManager[AIOKafkaAdminClient]:
    options = {"bootstrap_servers": bootstrap, **access.options()}
    return administrator(options, "tell or change permissions", ADMIN_WITHIN)


async def _found(admin: AIOKafkaAdminClient) -> set[Acl]:
    """Every permission that the brokers know; what denies, or names hosts, is not of ours."""
    answer = await _sent(admin, DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY))
    _check(answer.error_code, answer.error_message, "the permissions")
    return {
        Acl(principal, resource, name, pattern, operation)
        for resource, name, pattern, entries in answer.resources
        for principal, host, operation, permission in entries
        if host == ANY_HOST and permission == ALLOW
    }


async def _sent(admin: AIOKafkaAdminClient, request: Any) -> Any:
    """aiokafka has these requests and no methods for them."""
    return await admin._send_to_controller(request)


def _check(code: int, message: str | None, what: str) -> None:
    if code == SECURITY_DISABLED:
        raise Unavailable("the brokers have no authorizer: see infra/kafka/secured.properties")
    if code:
        error = for_code(code)
        raise NotAuthorized(f"{what}: {error.__name__}: {message or error.description}")
