"""Messages as CloudEvents 1.0 in Kafka's binary mode: attributes in `ce_*` headers, JSON in the value.

The chain: an event's `ce_chain` is SHA-256, in hex, over the `ce_chain` of the event before it in its
aggregate (64 zeros for the first), each header of `CHAINED` in that order and at last the value; each of them
preceded by its length in bytes, decimal, and a colon.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from app.domain.decider import Decider, Recorded
from app.log import topics
from app.log.port import Headers, Received, Record
from app.log.upcasters import UPCASTERS, upcasted

FIRST_CHAIN = "0" * 64
CHAINED = (
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_sequence",
    "ce_causationid",
    "ce_correlationid",
    "ce_actor",
)

MEASURED = b"%d:%b" * (len(CHAINED) + 2)
ENVELOPE = frozenset((*CHAINED, "ce_chain"))

JSON = ("content-type", b"application/json")

encode = msgspec.json.Encoder().encode


class Undecodable(Exception):
    """A record is not a message that this version knows; the sentence says which and why."""


class Command(Struct, frozen=True):
    """A command as taken off the log. `at` is the log's append time."""

    id: str
    aggregate_id: str
    actor: str
    correlation_id: str
    at: datetime
    body: Any


class Envelope(Struct, frozen=True):
    """What the headers of an event say."""

    id: str
    type: str
    aggregate_id: str
    version: int
    at: datetime
    causation_id: str
    correlation_id: str
    actor: str
    chain: str


class Event(Envelope, frozen=True):
    """An event as it lies on the log."""

    body: Any

    @property
    def recorded(self) -> Recorded:
        """What `evolve` wants to know of it."""
        return Recorded(self.aggregate_id, self.version, self.at)


class Reply(Struct, frozen=True):
    """The answer to one command: the resulting state and version, or why it was refused."""

    command_id: str
    aggregate_id: str
    accepted: bool
    version: int
    repeated: bool = False
    state: msgspec.Raw = msgspec.Raw(b"null")
    code: str | None = None
    message: str | None = None
    param: str | None = None


@lru_cache(64)  # what was appended at once has one time
def timestamp(at: datetime) -> str:
    """RFC 3339, UTC, always with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def headers(**attributes: str) -> Headers:
    """CloudEvents headers of these attributes, in the order given."""
    return (
        ("ce_specversion", b"1.0"),
        *[(f"ce_{name}", value.encode()) for name, value in attributes.items()],
        JSON,
    )


def command_record(
    decider: Decider, *, id: str, aggregate_id: str, actor: str, correlation_id: str, source: str, body: Any
) -> Record:
    """A command, ready to be sent to its stream."""
    return Record(
        topics.commands(decider.stream),
        aggregate_id,
        encode(body),
        headers(
            id=id,
            type=decider.wire_type(body),
            source=f"/tunesmith/{source}",
            subject=aggregate_id,
            correlationid=correlation_id,
            actor=actor,
        ),
    )


def read_command(decider: Decider, received: Received) -> Command:
    """The command in a record. Raises `Undecodable`."""
    found = attributes(received, "ce_id", "ce_type", "ce_subject", "ce_actor", "ce_correlationid")
    return Command(
        id=found["ce_id"],
        aggregate_id=found["ce_subject"],
        actor=found["ce_actor"],
        correlation_id=found["ce_correlationid"],
        at=received.at,
        body=_body(decider.commands, found["ce_type"], received),
    )


def event_record(
    decider: Decider, *, command: Command, version: int, at: datetime, chain: str, body: Any, partition: int
) -> tuple[Record, str]:
    """An event, ready to be appended, and its hash; `chain` is the hash of the event before it."""
    value = encode(body)
    chained = [  # in the order of CHAINED
        b"1.0",
        b"%b:%d" % (command.aggregate_id.encode(), version),
        decider.wire_type(body).encode(),
        f"/tunesmith/{decider.stream}".encode(),
        command.aggregate_id.encode(),
        timestamp(at).encode(),
        b"%d" % version,
        command.id.encode(),
        command.correlation_id.encode(),
        command.actor.encode(),
    ]
    hashed = _hash(chain, chained, value)
    attributes = (*zip(CHAINED, chained, strict=True), JSON, ("ce_chain", hashed.encode()))
    return Record(topics.events(decider.stream), command.aggregate_id, value, attributes, partition), hashed


def chain_hash(before: str, attributes: Headers, value: bytes) -> str:
    """The hash of an event, as the module's docstring says."""
    found = dict(attributes)
    return _hash(before, [found[name] for name in CHAINED], value)


def _hash(before: str, chained: list[bytes], value: bytes) -> str:
    parts: list[int | bytes] = [0] * (2 * len(CHAINED) + 4)
    parts[1::2] = before.encode(), *chained, value
    parts[0::2] = map(len, parts[1::2])  # type: ignore[arg-type]
    return hashlib.sha256(MEASURED % tuple(parts)).hexdigest()


def read_envelope(received: Received) -> Envelope:
    """What an event's headers say. Raises `Undecodable`."""
    return Envelope(*_envelope(received))


def read_event(decider: Decider, received: Received) -> Event:
    """The event in a record. Raises `Undecodable`."""
    found = _envelope(received)
    _, name, aggregate_id, *_ = found
    if (upcaster := UPCASTERS.get(name)) is not None:
        older = _body({name: upcaster.held}, name, received)
        return Event(*found, upcasted(name, older, aggregate_id))
    return Event(*found, _body(decider.events, name, received))


def _envelope(received: Received) -> tuple[str, str, str, int, datetime, str, str, str, str]:
    """The fields of an `Envelope`, in their order: an audit reads millions."""
    found = dict(received.headers)
    if not found.keys() >= ENVELOPE:
        missing = next(name for name in (*CHAINED, "ce_chain") if name not in found)
        raise Undecodable(f"{where(received)} has no header {missing!r}")
    try:
        return (
            found["ce_id"].decode(),
            found["ce_type"].decode(),
            found["ce_subject"].decode(),
            int(found["ce_sequence"]),
            datetime.fromisoformat(found["ce_time"].decode()),
            found["ce_causationid"].decode(),
            found["ce_correlationid"].decode(),
            found["ce_actor"].decode(),
            found["ce_chain"].decode(),
        )
    except UnicodeDecodeError as error:
        raise Undecodable(f"{where(received)} has a header that is not UTF-8") from error
    except ValueError as error:
        raise Undecodable(f"{where(received)} has a header that cannot be read: {error}") from error


def reply_record(reply: Reply, *, noun: str, partition: int) -> Record:
    """A reply, ready to be appended."""
    attributes = headers(
        id=f"{reply.command_id}:reply",
        type=f"tunesmith.{noun}.reply.v1",
        source="/tunesmith/command-handler",
        subject=reply.aggregate_id,
        causationid=reply.command_id,
    )
    return Record(topics.REPLIES, reply.command_id, encode(reply), attributes, partition)


def attributes(received: Received, *names: str) -> dict[str, str]:
    """These headers, as text. Raises `Undecodable` naming the first that is missing."""
    found = dict(received.headers)
    try:
        return {name: found[name].decode() for name in names}
    except KeyError as error:
        raise Undecodable(f"{where(received)} has no header {error}") from error
    except UnicodeDecodeError as error:
        raise Undecodable(f"{where(received)} has a header that is not UTF-8") from error


def where(received: Received) -> str:
    """How people are told which record is meant."""
    return f"{received.partition.topic}[{received.partition.number}]@{received.offset}"


def _body(types: dict[str, type], name: str, received: Received) -> Any:
    kind = types.get(name)
    if kind is None:
        raise Undecodable(f"{where(received)} is of type {name}, which this version does not know")
    try:
        return msgspec.json.decode(received.value or b"", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Undecodable(f"{where(received)} is no {name}: {error}") from error
