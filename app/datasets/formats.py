"""The formats a row can have, and every fault of a row that shows without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

Format = Literal["chat", "prompt_completion", "preference", "text"]

ROLES = ("system", "user", "assistant")
ROLE_MISTAKES = {
    "human": "user",
    "customer": "user",
    "prompter": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "developer": "system",
}
TOOL_FIELDS = frozenset({"tool_calls", "tool_call_id", "function_call", "tools", "functions"})
LONGEST_SHOWN = 40


class RowFault(Struct, frozen=True):
    """One thing wrong in a row: a stable code, a JSON pointer, a sentence, a fix. A warning stops nothing."""

    code: str
    pointer: str
    message: str
    fix: str = ""
    warning: bool = False


class Row(Struct, frozen=True):
    """A row as it is trained on: chat messages, each of `role` and `content`."""

    messages: tuple[dict[str, str], ...]


def read_row(value: Any) -> tuple[Row | None, Format | None, list[RowFault]]:
    """The row in a decoded line, none if it has a fault; its format; and all its faults and warnings."""
    form = detect(value) if isinstance(value, dict) else None
    faults = list(_faults(value, form))
    if any(not fault.warning for fault in faults):
        return None, form, faults
    if form == "prompt_completion":
        turns = (("user", value["prompt"]), ("assistant", value["completion"]))
        return Row(tuple({"role": role, "content": content} for role, content in turns)), form, faults
    messages = ({"role": message["role"], "content": message["content"]} for message in value["messages"])
    return Row(tuple(messages)), form, faults


def detect(row: Mapping[str, Any]) -> Format | None:
    """The format that a row's keys speak of."""
    if "messages" in row:
        return "chat"
    for liked, disliked in (("chosen", "rejected"), ("preferred_output", "non_preferred_output")):
        if liked in row and disliked in row:
            return "preference"
    if "prompt" in row or "completion" in row:
        return "prompt_completion"
    return "text" if "text" in row else None


def _faults(value: Any, form: Format | None) -> Iterator[RowFault]:
    if not isinstance(value, dict):
        message = f"the line is {kind_of(value)}, not an object"
        yield RowFault("not_an_object", "", message, 'write {"messages": [...]}')
    elif form == "chat":
        yield from _chat_faults(value)
    elif form == "prompt_completion":
        for name in ("prompt", "completion"):
            if not isinstance(value.get(name), str) or not value[name].strip():
                message = f"{name} is missing, empty or not a string"
                yield RowFault("not_text", f"/{name}", message, f"make {name} a string that is not empty")
    elif form is None:
        keys = ", ".join(repr(key) for key in list(value)[:5]) or "no keys"
        yield RowFault(
            "no_messages",
            "",
            f"the row has no 'messages' (it has {shown_text(keys, 80)})",
            'write {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
        )
    else:
        fix = (
            "keep the prompt and the preferred answer, as a user and an assistant message"
            if form == "preference"
            else "split the text into user and assistant messages"
        )
        yield RowFault("unsupported_format", "", f"the row is {form}; only chat rows can be trained on", fix)


def _chat_faults(row: dict[str, Any]) -> Iterator[RowFault]:
    for key in sorted(TOOL_FIELDS & row.keys()):
        yield _tools(f"/{key}", key)
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        message = f"'messages' is {kind_of(messages) if messages != [] else 'empty'}, not a list of messages"
        fix = 'write "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]'
        yield RowFault("no_messages", "/messages", message, fix)
        return
    for index, message in enumerate(messages):
        yield from _message_faults(message, f"/messages/{index}", first=index == 0)
    last = messages[-1].get("role") if isinstance(messages[-1], dict) else None
    if last in ("system", "user"):
        yield RowFault(
            "no_answer",
            f"/messages/{len(messages) - 1}/role",
            f"the last message is from {last}: there is no answer to learn",
            "end the row with an assistant message",
        )


def _message_faults(message: Any, pointer: str, *, first: bool) -> Iterator[RowFault]:
    if not isinstance(message, dict):
        fix = 'write {"role": "…", "content": "…"}'
        yield RowFault("not_an_object", pointer, f"the message is {kind_of(message)}, not an object", fix)
        return
    yield from _role_faults(message.get("role"), f"{pointer}/role", first=first)
    tools = sorted(TOOL_FIELDS & message.keys())
    for key in tools:
        yield _tools(f"{pointer}/{key}", key)
    content = message.get("content")
    if not isinstance(content, str):
        if not (content is None and tools):  # said once is enough
            said = f"content is {kind_of(content)}" if "content" in message else "content is missing"
            parts = isinstance(content, list)
            fix = "join the parts into one string; images are not supported" if parts else "make it a string"
            yield RowFault("not_text", f"{pointer}/content", said, fix)
    elif not content.strip():
        system = message.get("role") == "system"
        fix = "write the text, or remove the message"
        yield RowFault("empty_content", f"{pointer}/content", "content is empty", fix, warning=system)
    for key in message.keys() - TOOL_FIELDS - {"role", "content"}:
        where = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
        if key == "weight" and message[key] != 1:
            said = "a weight is not supported: every assistant message is trained"
            yield RowFault("unsupported_weight", where, said, "remove the weight, or the message")
        else:
            said = f"{shown(key)} is not used"
            yield RowFault("unused_field", where, said, "remove it", warning=True)


def _role_faults(role: Any, pointer: str, *, first: bool) -> Iterator[RowFault]:
    if role in ("tool", "function"):
        yield RowFault(
            "unsupported_tools", pointer, f"the role {role!r} is not supported", "remove the message"
        )
    elif role not in ROLES:
        known = role.strip().lower() if isinstance(role, str) else ""
        meant = known if known in ROLES else ROLE_MISTAKES.get(known)
        fix = f"write {meant!r}" if meant else f"use one of {', '.join(ROLES)}"
        yield RowFault(
            "bad_role", pointer, "role is missing" if role is None else f"role is {shown(role)}", fix
        )
    elif role == "system" and not first:
        yield RowFault("late_system", pointer, "a system message may only come first", "put it first")


def _tools(pointer: str, key: str) -> RowFault:
    return RowFault("unsupported_tools", pointer, f"{key} is not supported", f"remove {key}")


def kind_of(value: Any) -> str:
    """How JSON calls a value."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def shown(value: Any) -> str:
    """A value, short enough for a sentence."""
    return shown_text(repr(value), LONGEST_SHOWN)


def shown_text(text: str, longest: int) -> str:
    """A text, cut to `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
