"""Where in a line a place of the row that is made of it stands, as a JSON pointer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from app.datasets.formats import Format
from app.datasets.preference import Part, pair_of
from app.datasets.tokenise import Place


class Side(Struct, frozen=True):
    """Pointers to all of a conversation or text, to its tools, and to each message by the message's fields.

    A message that is written as a mere text is its content.
    """

    whole: str
    messages: tuple[tuple[str, bool], ...] = ()
    tools: str = "/tools"

    def pointer(self, place: Place) -> str:
        """Where a place stands."""
        if place.message is None:
            return self.tools if place.field == "tools" else self.whole
        pointer, is_text = self.messages[place.message]
        return pointer if is_text else f"{pointer}/{place.field}"


def sides_at(value: Mapping[str, Any], form: Format | None) -> tuple[Side, ...]:
    """The sides of a sound row; only a pair has two."""
    if form == "preference":
        pair = pair_of(value)
        asked = _messages(pair.prompt) if pair.prompt is not None else ()
        return tuple(
            Side(side.pointer, (*asked, *_messages(side)), pair.tools_pointer)
            for side in (pair.chosen, pair.rejected)
        )
    if form == "prompt_completion":
        return (Side("", (("/prompt", True), ("/completion", True))),)
    if form == "text":
        return (Side("/text"),)
    return (Side("/messages", _messages(Part(value["messages"], "/messages"))),)


def _messages(part: Part) -> tuple[tuple[str, bool], ...]:
    if isinstance(part.value, str):
        return ((part.pointer, True),)
    return tuple((f"{part.pointer}/{part.first + number}", False) for number in range(len(part.value)))
