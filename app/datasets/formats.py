"""The formats a row can have, every fault of a row that shows without a model, and what it is trained as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from app.datasets.chat import chat_faults, message_of, untrained_of
from app.datasets.faults import RowFault, kind_of, shown_text, told, unused_fields
from app.datasets.preference import is_pair, pair_faults, pair_of, sides_of
from app.datasets.tools import tool_of

Format = Literal["chat", "prompt_completion", "preference", "text"]

FORMATS: dict[str, tuple[Format, ...]] = {
    "supervised": ("chat", "prompt_completion", "text"),
    "dpo": ("preference",),
}
CHAT = 'write {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'


def fits(form: str | None, method: str) -> bool:
    """Whether a method trains on files of a format."""
    return form in FORMATS.get(method, ())


class Row(Struct, frozen=True):
    """A conversation as a chat template takes it: messages of `role` and `content`, and the tools they call.

    An assistant's message may have `tool_calls`, a tool's has the `tool_call_id` that it answers. `untrained`
    are the numbers of the assistant's messages that are read only.
    """

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    untrained: tuple[int, ...] = ()


class Text(Struct, frozen=True):
    """A text that is trained as it stands."""

    text: str


class Pair(Struct, frozen=True):
    """A better and a worse answer to the same conversation."""

    prompt: tuple[dict[str, Any], ...]
    chosen: tuple[dict[str, Any], ...]
    rejected: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()

    def sides(self) -> tuple[Row, Row]:
        """The better and the worse conversation; of each only what follows the prompt is trained."""
        asked = tuple(number for number, message in enumerate(self.prompt) if message["role"] == "assistant")
        return (
            Row(self.prompt + self.chosen, self.tools, asked),
            Row(self.prompt + self.rejected, self.tools, asked),
        )


AnyRow = Row | Text | Pair


def read_row(value: Any) -> tuple[AnyRow | None, Format | None, list[RowFault]]:
    """The row in a decoded line, none if it has a fault; its format; and all its faults and warnings."""
    form = detect(value) if isinstance(value, dict) else None
    faults = told(_faults(value, form))
    if any(not fault.warning for fault in faults):
        return None, form, faults
    return _row(value, form), form, faults


def detect(row: Mapping[str, Any]) -> Format | None:
    """The format that a row's keys speak of."""
    if "messages" in row:
        return "chat"
    if is_pair(row):
        return "preference"
    if "prompt" in row or "completion" in row:
        return "prompt_completion"
    return "text" if "text" in row else None


def _row(value: dict[str, Any], form: Format | None) -> AnyRow:
    if form == "text":
        return Text(value["text"])
    if form == "prompt_completion":
        turns = (("user", value["prompt"]), ("assistant", value["completion"]))
        return Row(tuple({"role": role, "content": content} for role, content in turns))
    if form == "preference":
        return Pair(*sides_of(value), _tools(pair_of(value).tools))
    messages = value["messages"]
    return Row(
        tuple(message_of(message) for message in messages), _tools(value.get("tools")), untrained_of(messages)
    )


def _tools(given: Any) -> tuple[dict[str, Any], ...]:
    return tuple(tool_of(tool) for tool in given or ())


def _faults(value: Any, form: Format | None) -> Iterator[RowFault]:
    if not isinstance(value, dict):
        said = f"the line is {kind_of(value)}, not an object"
        yield RowFault("not_an_object", "", said, 'write {"messages": [...]}')
    elif form == "chat":
        yield from chat_faults(value)
    elif form == "preference":
        yield from pair_faults(value)
    elif form == "prompt_completion":
        yield from _texts(value, "prompt", "completion")
        yield from _weight_faults(value)
        yield from unused_fields(value, "", {"prompt", "completion", "weight"}, "a prompt and its completion")
    elif form == "text":
        yield from _texts(value, "text")
        yield from unused_fields(value, "", {"text"}, "plain text")
    else:
        keys = ", ".join(repr(key[:40]) for key in list(value)[:5]) or "no keys"
        said = f"the row has no 'messages' (it has {shown_text(keys, 80)})"
        yield RowFault("no_messages", "", said, CHAT)


def _texts(value: dict[str, Any], *names: str) -> Iterator[RowFault]:
    for name in names:
        if not isinstance(value.get(name), str) or not value[name].strip():
            said = f"{name} is missing, empty or not a string"
            yield RowFault("not_text", f"/{name}", said, f"make {name} a string that is not empty")


def _weight_faults(value: dict[str, Any]) -> Iterator[RowFault]:
    """A weight beside a completion, which promises what only a message's weight does."""
    if value.get("weight") is not None:
        said = "weight is not used: the completion is trained whatever it says"
        fix = 'write the row as messages and give the answer "weight": 0, or remove it'
        yield RowFault("unused_field", "/weight", said, fix, warning=True)
