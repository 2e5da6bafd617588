"""Aggregates as the state topic keeps them, and the control records beside them."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from app.domain.decider import Decider
from app.log.codec import FIRST_CHAIN

REMEMBERED_COMMANDS = 64

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


def read_aggregate(decider: Decider, value: bytes) -> Aggregate:
    """An aggregate with its typed state, from a record of the state topic."""
    return _decoder(decider.state).decode(value)


@cache
def _decoder(state: type) -> msgspec.json.Decoder[Aggregate]:
    """Straight into the state's type: through a dict it takes twice as long."""
    fields = [("state", state | None, None)]
    return msgspec.json.Decoder(msgspec.defstruct("Aggregate", fields, bases=(Aggregate,), frozen=True))
