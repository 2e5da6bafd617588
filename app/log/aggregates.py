"""Aggregates as the state topic keeps them, and the control records beside them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from app.domain.decider import Decider
from app.log import topics
from app.log.codec import FIRST_CHAIN
from app.log.port import Received, Record

SCHEMA_HEADER = "tunesmith_state_schema"
OWNER_KEY = "!owner"
CURSOR_KEY = "!cursor"


class Decided(Struct, frozen=True, array_like=True):
    """An accepted command: the aggregate's version after it."""

    command_id: str
    version: int


class Aggregate(Struct, frozen=True):
    """An aggregate after `version` events: hash and time of the last, latest accepted commands, the state."""

    id: str
    version: int = 0
    chain: str = FIRST_CHAIN
    at: datetime | None = None
    recent: tuple[Decided, ...] = ()
    state: Any = None

    def decided(self, command_id: str) -> Decided | None:
        """What was decided of this command before; None when it is new, or too long ago."""
        return next((one for one in reversed(self.recent) if one.command_id == command_id), None)


class Cursor(Struct, frozen=True):
    """Offset of the next command to be decided."""

    next_offset: int


def state_record(decider: Decider, id: str, value: bytes, partition: int) -> Record:
    """An encoded aggregate as the state topic keeps it: with the schema of its state."""
    schema = state_schema(decider).encode()
    return Record(topics.state(decider.stream), id, value, ((SCHEMA_HEADER, schema),), partition)


def of_this_schema(decider: Decider, received: Received) -> bool:
    """Whether a record's state was folded by a version of the code that makes the same states."""
    return received.header(SCHEMA_HEADER) == state_schema(decider)


def state_schema(decider: Decider) -> str:
    """A short name of the states' shape and of how they are folded; another shape, another name."""
    return _schema(decider.folding, decider.state)


def event_schema(decider: Decider) -> str:
    """A short name of the events' shapes."""
    return _schema(*decider.events, *decider.events.values())


@cache
def _schema(*parts: int | str | type) -> str:
    shapes = [_without_prose(msgspec.json.schema(p)) if isinstance(p, type) else p for p in parts]
    return hashlib.sha256(msgspec.json.encode(shapes, order="deterministic")).hexdigest()[:16]


def _without_prose(schema: Any) -> Any:
    """A JSON schema without its descriptions: they come from docstrings and change no state."""
    if isinstance(schema, dict):
        prose = isinstance(schema.get("description"), str)
        return {
            name: _without_prose(part)
            for name, part in schema.items()
            if not (prose and name == "description")
        }
    return [_without_prose(part) for part in schema] if isinstance(schema, list) else schema


def read_aggregate(decider: Decider, value: bytes) -> Aggregate:
    """An aggregate with its typed state, from a record of the state topic."""
    return _decoder(decider.state).decode(value)


@cache
def _decoder(state: type) -> msgspec.json.Decoder[Aggregate]:
    """Straight into the state's type: through a dict it takes twice as long."""
    fields = [("state", state | None, None)]
    return msgspec.json.Decoder(msgspec.defstruct("Aggregate", fields, bases=(Aggregate,), frozen=True))
