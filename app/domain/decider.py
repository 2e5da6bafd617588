"""What every aggregate is made of: a decider, the context of a command, and what a decision may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any

from msgspec import Struct


class Context(Struct, frozen=True):
    """What comes in with a command: who, when and about what. `at` is when the log took the command."""

    command_id: str
    aggregate_id: str
    actor: str
    at: datetime


class Recorded(Struct, frozen=True):
    """Where and when an event stands: the `version` is contiguous from 1 within its aggregate."""

    aggregate_id: str
    version: int
    at: datetime


class Accepted(Struct, frozen=True):
    """A command's effect: events to append and orders for trainer workers. No events: nothing to change."""

    events: tuple[Any, ...] = ()
    orders: tuple[Any, ...] = ()


class Rejection(Struct, frozen=True):
    """A command refused: a stable code, a sentence, the field meant; orders that follow all the same."""

    code: str
    message: str
    param: str | None = None
    orders: tuple[Any, ...] = ()


_boundary = re.compile(r"(?<!^)(?=[A-Z])")


class Decider(Struct, frozen=True):
    """One aggregate's rules.

    `decide(state, command, context)` gives `Accepted` or `Rejection`; `evolve(state, event, recorded)` gives
    the next state. The state is None before the first event. `commands` and `events` map wire types to
    classes. `folding` is raised when `evolve` makes another state of the same events, in the same fields.
    """

    stream: str
    noun: str
    state: type
    commands: dict[str, type]
    events: dict[str, type]
    decide: Callable[[Any, Any, Context], Accepted | Rejection]
    evolve: Callable[[Any, Any, Recorded], Any]
    folding: int = 1

    def wire_type(self, message: Any) -> str:
        """The `ce_type` of a command or event: `tunesmith.tuning.epoch_completed.v1`."""
        kind: type = type(message)
        return wire_type(self.noun, kind)


@cache
def wire_type(noun: str, kind: type) -> str:
    """`tunesmith.<noun>.<kind in snake case>.v<schema>`; the schema is 1 where the class names none."""
    snake_case = _boundary.sub("_", kind.__name__).lower()
    return f"tunesmith.{noun}.{snake_case}.v{getattr(kind, 'SCHEMA', 1)}"


def wire_types(noun: str, *kinds: type) -> dict[str, type]:
    """The classes by their wire type."""
    return {wire_type(noun, kind): kind for kind in kinds}


def fold(decider: Decider, history: Iterable[tuple[Any, Recorded]]) -> Any:
    """The state that these events make, from an aggregate's first on; None without any."""
    state = None
    for event, recorded in history:
        state = decider.evolve(state, event, recorded)
    return state


def not_found(noun: str, context: Context) -> Rejection:
    """Refuse a command for an aggregate that has no event yet."""
    return Rejection("not_found", f"there is no {noun} {context.aggregate_id}")
