"""What each role may do on the brokers, out of `infra/kafka/acls.toml` and `topics.toml`."""

from __future__ import annotations

import tomllib
from enum import IntEnum

from msgspec import Struct

from app.log import topics
from app.log.resources import infra_kafka

ANY_HOST = "*"
PREFIX = "tunesmith-"
OPERATOR = "tunesmith-operator"


class Resource(IntEnum):
    """Kinds of resources, by Kafka's numbers."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Pattern(IntEnum):
    """How a name is meant, by Kafka's numbers."""

    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """What may be done, by Kafka's numbers; each of these allows to describe as well."""

    READ = 3
    WRITE = 4


class Acl(Struct, frozen=True, order=True):
    """A permission: a principal may do an operation on a resource, from any host."""

    principal: str
    resource: int
    name: str
    pattern: int
    operation: int

    def __str__(self) -> str:
        star = "*" if self.pattern == Pattern.PREFIXED else ""
        return (
            f"{self.principal} may {_word(Operation, self.operation)} "
            f"{_word(Resource, self.resource)} {self.name}{star}"
        )


def _word(kind: type[IntEnum], number: int) -> str:
    """A number's word; a foreign entry may hold one that is never declared here."""
    try:
        return kind(number).name.lower().replace("_", " ")
    except ValueError:
        return f"{kind.__name__.lower()} {number}"


def users() -> set[str]:
    """The user of each role."""
    return {f"{PREFIX}{role}" for role in _roles()}


def principal(role: str) -> str:
    """The user of a role, as permissions name it."""
    return f"User:{PREFIX}{role}"


def declared() -> list[Acl]:
    """Every permission that a role needs, and no other."""
    roles = _roles()
    found: set[Acl] = set()
    for topic in topics.declared("cluster"):
        for role in topic.writers:
            found.add(_acl(role, Resource.TOPIC, topic.name, Operation.WRITE))
        for role in topic.readers:
            found.add(_acl(role, Resource.TOPIC, topic.name, Operation.READ))
    for role, more in roles.items():
        for name in more.get("groups", ()):
            found.add(_acl(role, Resource.GROUP, name, Operation.READ))
        for name in more.get("transactional_ids", ()):
            found.add(_acl(role, Resource.TRANSACTIONAL_ID, name, Operation.WRITE))
    if unknown := {one.principal for one in found} - {principal(role) for role in roles}:
        raise ValueError(f"infra/kafka/topics.toml names {sorted(unknown)}, which acls.toml does not know")
    return sorted(found)


def _roles() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(infra_kafka("acls.toml").read_text())


def _acl(role: str, resource: Resource, name: str, operation: Operation) -> Acl:
    prefix = name.endswith("*")
    pattern = Pattern.PREFIXED if prefix else Pattern.LITERAL
    return Acl(principal(role), int(resource), name.rstrip("*"), int(pattern), int(operation))
