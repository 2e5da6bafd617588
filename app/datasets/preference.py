"""Preference pairs: `prompt`, `chosen` and `rejected`, or OpenAI's `input` and two outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from app.datasets.chat import message_of, messages_faults
from app.datasets.faults import RowFault, kind_of, unused_fields
from app.datasets.tools import Calls, calls_of, tools_faults

OURS = ("chosen", "rejected")
OPENAIS = ("preferred_output", "non_preferred_output")
OUR_FIELDS = {*OURS, "prompt", "tools"}
OPENAIS_FIELDS = {*OPENAIS, "input"}
INPUT_FIELDS = {"messages", "tools", "parallel_tool_calls"}

Messages = tuple[dict[str, Any], ...]


class Part(Struct, frozen=True):
    """A text, or messages of which the first is number `first` at `pointer`."""

    value: Any
    pointer: str
    first: int = 0


class Pair(Struct, frozen=True):
    """A pair as it is written: what was asked (None: nothing), the better answer, the worse one."""

    prompt: Part | None
    chosen: Part
    rejected: Part
    tools: Any
    tools_pointer: str


def is_pair(row: Mapping[str, Any]) -> bool:
    """Whether a row's keys speak of a preference: two sides, or one and nothing else to be trained."""
    if any(liked in row and disliked in row for liked, disliked in (OURS, OPENAIS)):
        return True
    return any(key in row for key in (*OURS, *OPENAIS)) and "completion" not in row and "text" not in row


def _is_openais(row: Mapping[str, Any]) -> bool:
    """Whether more of a pair is in OpenAI's form than in ours."""
    return sum(key in row for key in OPENAIS) > sum(key in row for key in OURS)


def pair_of(row: Mapping[str, Any]) -> Pair:
    """The parts of a row that `is_pair`; a side that it lacks is None.

    A prompt that the sides repeat is taken off them.
    """
    openais = _is_openais(row)
    chosen, rejected = (Part(row.get(key), f"/{key}") for key in (OPENAIS if openais else OURS))
    if openais:
        asked = row.get("input")
        given = asked if isinstance(asked, dict) else {}
        prompt = Part(given.get("messages"), "/input/messages") if "messages" in given else None
        tools, place = given.get("tools"), "/input/tools"
    else:
        prompt = Part(row["prompt"], "/prompt") if row.get("prompt") is not None else None
        tools, place = row.get("tools"), "/tools"
    if prompt is None:
        count = _shared(chosen.value, rejected.value)
        prompt = Part(chosen.value[:count], chosen.pointer) if count else None
    else:
        asking = _messages(prompt.value, "user")
        count = len(asking)
        there = [side.value for side in (chosen, rejected) if side.value is not None]
        if not all(asking and _starts_with(side, asking) for side in there):
            count = 0
    if count:
        chosen, rejected = (
            side if side.value is None else Part(side.value[count:], side.pointer, count)
            for side in (chosen, rejected)
        )
    return Pair(prompt, chosen, rejected, tools, place)


def _shared(chosen: Any, rejected: Any) -> int:
    """How many messages two sides begin with in common; each keeps one of its own."""
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        return 0
    most, count = min(len(chosen), len(rejected)) - 1, 0
    while count < most and chosen[count] == rejected[count]:
        count += 1
    return count


def _starts_with(side: Any, asking: Sequence[Any]) -> bool:
    return isinstance(side, list) and side[: len(asking)] == asking


def pair_faults(row: Mapping[str, Any]) -> Iterator[RowFault]:
    """Everything wrong with a row that `is_pair`."""
    pair = pair_of(row)
    yield from tools_faults(pair.tools, pair.tools_pointer)
    calls = calls_of(pair.tools)
    sound, alone = True, pair.prompt is None and _is_alone(pair)
    if pair.prompt is None and not alone:
        sound = False
        where = "/input/messages" if _is_openais(row) else "/prompt"
        said = "there is no prompt, and the two sides do not begin with one in common"
        yield RowFault("no_prompt", where, said, "write what was asked, as a text or as messages")
    elif pair.prompt is not None:
        for fault in _prompt_faults(pair.prompt, calls):
            sound = sound and fault.warning
            yield fault
    for side, better in ((pair.chosen, "better"), (pair.rejected, "worse")):
        key = side.pointer.removeprefix("/")
        if key not in row:
            sound = False
            said = f"{key} is missing: a pair has a better and a worse answer"
            yield RowFault("not_text", side.pointer, said, f"write {key}, the {better} answer")
            continue
        for fault in _side_faults(side, calls.copy(), alone=alone):
            sound = sound and fault.warning
            yield fault
    if sound and _taken(pair.chosen, "assistant") == _taken(pair.rejected, "assistant"):
        said = "the two sides are equal: there is nothing to prefer"
        yield RowFault("equal_sides", pair.rejected.pointer, said, "write a worse answer, or remove the row")
    openais = _is_openais(row)
    yield from unused_fields(row, "", OPENAIS_FIELDS if openais else OUR_FIELDS, "a preference pair")
    if openais and isinstance(row.get("input"), dict):
        yield from unused_fields(row["input"], "/input", INPUT_FIELDS, "what was asked")


def _is_alone(pair: Pair) -> bool:
    """Whether there is only one side, which may well have the prompt in it."""
    [side, *others] = [side.value for side in (pair.chosen, pair.rejected) if side.value is not None] or [
        None
    ]
    return isinstance(side, list) and not others


def _prompt_faults(prompt: Part, calls: Calls) -> Iterator[RowFault]:
    yield from _part_faults(prompt, calls, opening=True)
    messages = _messages(prompt.value, "user")
    last = messages[-1].get("role") if messages and isinstance(messages[-1], dict) else None
    if last in ("system", "assistant"):
        where = f"{prompt.pointer}/{len(messages) - 1}/role"
        said = f"the prompt's last message is from {last}: nothing is asked there"
        yield RowFault("no_question", where, said, "end the prompt with a user message")


def _side_faults(side: Part, calls: Calls, *, alone: bool) -> Iterator[RowFault]:
    """What is wrong with a side; `alone` it may have the prompt in it."""
    yield from _part_faults(side, calls, opening=alone)
    messages = side.value if isinstance(side.value, list) else []
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    for number, role in enumerate(roles):
        if role == "user" and not alone:
            where = f"{side.pointer}/{side.first + number}/role"
            said = "a side of a pair has a user's message, which the prompt does not have"
            yield RowFault("bad_side", where, said, "put what is common to both sides into the prompt")
    for number, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "assistant" and message.get("weight") == 0:
            where = f"{side.pointer}/{side.first + number}/weight"
            said = "a side of a pair is compared whole: no message of it can have the weight 0"
            yield RowFault("unsupported_weight", where, said, "remove the weight, or the message")
    if roles and roles[-1] == "tool":
        where = f"{side.pointer}/{side.first + len(roles) - 1}/role"
        said = "the last message is from tool: there is no answer to prefer"
        yield RowFault("no_answer", where, said, "end the side with an assistant message")


def _part_faults(part: Part, calls: Calls, *, opening: bool) -> Iterator[RowFault]:
    value = part.value
    if isinstance(value, str):
        if not value.strip():
            yield RowFault("empty_content", part.pointer, "the text is empty", "write it, or remove the row")
    elif isinstance(value, list) and value:
        yield from messages_faults(value, part.pointer, calls, first=part.first, opening=opening)
    else:
        said = "there are no messages" if value == [] else f"it is {kind_of(value)}, no text and no messages"
        fix = 'write a text, or [{"role": "…", "content": "…"}]'
        yield RowFault("not_text", part.pointer, said, fix)


def _messages(value: Any, role: str) -> list[Any]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return value if isinstance(value, list) else []


def sides_of(row: Mapping[str, Any]) -> tuple[Messages, Messages, Messages]:
    """Prompt, better and worse answer of a row without faults, as chat templates take them."""
    pair = pair_of(row)
    assert pair.prompt is not None
    return _taken(pair.prompt, "user"), _taken(pair.chosen, "assistant"), _taken(pair.rejected, "assistant")


def _taken(part: Part, role: str) -> Messages:
    return tuple(message_of(message) for message in _messages(part.value, role))
