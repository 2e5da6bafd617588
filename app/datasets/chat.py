"""Messages of a conversation: what is wrong with them, and how they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.datasets.faults import RowFault, at, kind_of, shown, unused_fields
from app.datasets.tools import (
    OLD_FIELDS,
    Calls,
    answer_faults,
    call_faults,
    call_of,
    calls_of,
    old_faults,
    tools_faults,
    unanswered,
)

ROLES = ("system", "user", "assistant", "tool")
ROLE_MISTAKES = {
    "human": "user",
    "customer": "user",
    "prompter": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "developer": "system",
    "function": "tool",
    "observation": "tool",
}
ROW_FIELDS = {"messages", "tools", "parallel_tool_calls", *OLD_FIELDS}
PLAIN = {"role", "content"}
WEIGHTS = (0, 1)
MESSAGES = 'write "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]'


def chat_faults(row: Mapping[str, Any]) -> Iterator[RowFault]:
    """Everything wrong with a row of `messages`, and `tools` if it has them."""
    yield from tools_faults(row.get("tools"), "/tools")
    yield from old_faults(row, "")
    yield from unused_fields(row, "", ROW_FIELDS, "a conversation")
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        said = f"'messages' is {kind_of(messages) if messages != [] else 'empty'}, not a list of messages"
        yield RowFault("no_messages", "/messages", said, MESSAGES)
        return
    yield from messages_faults(messages, "/messages", calls_of(row.get("tools")))
    last = _role(messages[-1])
    if last in ("system", "user", "tool"):
        yield RowFault(
            "no_answer",
            f"/messages/{len(messages) - 1}/role",
            f"the last message is from {last}: there is no answer to learn",
            "end the row with an assistant message",
        )
    answers = [message for message in messages if _role(message) == "assistant"]
    if answers and all(message.get("weight") == 0 for message in answers):
        said = "every assistant message has the weight 0: nothing of the row would be trained"
        yield RowFault("nothing_trained", "/messages", said, "give one the weight 1, or remove the row")


def messages_faults(
    messages: Sequence[Any], pointer: str, calls: Calls, *, first: int = 0, opening: bool = True
) -> Iterator[RowFault]:
    """Everything wrong with messages one by one; the first is number `first` at `pointer`.

    With `opening` it opens the conversation, and may be from the system.
    """
    for number, message in enumerate(messages):
        if not calls.open and _is_plain(message):
            continue
        yield from _message_faults(
            message, f"{pointer}/{first + number}", calls, opening=opening and number == 0
        )


def _is_plain(message: Any) -> bool:
    """Whether a message is as most are, and sound; what else it may be takes longer to find out."""
    if type(message) is not dict or message.keys() != PLAIN or message["role"] not in ("user", "assistant"):
        return False
    content = message["content"]
    return type(content) is str and bool(content) and not content.isspace()


def _message_faults(message: Any, pointer: str, calls: Calls, *, opening: bool) -> Iterator[RowFault]:
    if not isinstance(message, dict):
        fix = 'write {"role": "…", "content": "…"}'
        yield RowFault("not_an_object", pointer, f"the message is {kind_of(message)}, not an object", fix)
        return
    role = message.get("role")
    if role != "tool":
        yield from unanswered(calls)
    yield from _role_faults(role, f"{pointer}/role", opening=opening)
    yield from old_faults(message, pointer)
    made = message.get("tool_calls")
    if made is not None and role != "assistant":
        said = "only an assistant message can call tools"
        yield RowFault("bad_tool_call", f"{pointer}/tool_calls", said, "remove tool_calls, or mend the role")
    elif made is not None:
        yield from call_faults(made, f"{pointer}/tool_calls", calls)
    if role == "tool":
        yield from answer_faults(message, pointer, calls)
    yield from _content_faults(message, pointer)
    for key in message:
        yield from _field_faults(message, key, pointer)


def _content_faults(message: Mapping[str, Any], pointer: str) -> Iterator[RowFault]:
    content, role = message.get("content"), message.get("role")
    calling = bool(message.get("tool_calls")) or any(message.get(key) is not None for key in OLD_FIELDS)
    if calling and (content is None or content == ""):
        return
    if not isinstance(content, str):
        said = f"content is {kind_of(content)}" if "content" in message else "content is missing"
        parts = isinstance(content, list)
        fix = "join the parts into one string; images are not supported" if parts else "make it a string"
        yield RowFault("not_text", f"{pointer}/content", said, fix)
    elif not content.strip():
        # A tool may well have nothing to say, and a system message is often left empty.
        harmless = role in ("system", "tool")
        fix = "write the text, or remove the message"
        yield RowFault("empty_content", f"{pointer}/content", "content is empty", fix, warning=harmless)


def _field_faults(message: Mapping[str, Any], key: str, pointer: str) -> Iterator[RowFault]:
    value, role = message[key], message.get("role")
    if value is None or key in ("role", "content", "tool_calls", *OLD_FIELDS):
        return
    if role == "tool" and (key == "tool_call_id" or (key == "name" and isinstance(value, str))):
        return
    where = at(pointer, key)
    if key == "weight" and role == "assistant":
        if value not in WEIGHTS or isinstance(value, bool):
            fix = "write 1 to train the message, 0 not to"
            yield RowFault("unsupported_weight", where, f"the weight is {shown(value)}", fix)
    elif key == "weight" and value != 1:
        said = "only assistant messages can have a weight"
        yield RowFault("unsupported_weight", where, said, "remove it")
    else:
        yield RowFault("unused_field", where, f"{shown(key)} is not used", "remove it", warning=True)


def _role_faults(role: Any, pointer: str, *, opening: bool) -> Iterator[RowFault]:
    if role not in ROLES:
        known = role[:20].strip().lower() if isinstance(role, str) else ""
        meant = known if known in ROLES else ROLE_MISTAKES.get(known)
        fix = f"write {meant!r}" if meant else f"use one of {', '.join(ROLES)}"
        yield RowFault(
            "bad_role", pointer, "role is missing" if role is None else f"role is {shown(role)}", fix
        )
    elif role == "system" and not opening:
        yield RowFault("late_system", pointer, "a system message may only come first", "put it first")


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def message_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """A sound message as chat templates take it."""
    made = {"role": given["role"], "content": given.get("content") or ""}
    if given["role"] == "assistant" and given.get("tool_calls"):
        made["tool_calls"] = [call_of(call) for call in given["tool_calls"]]
    if given["role"] == "tool":
        made["tool_call_id"] = given["tool_call_id"]
        if given.get("name") is not None:
            made["name"] = given["name"]
    return made


def untrained_of(messages: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """The numbers of the assistant's messages that are not to be trained."""
    return tuple(number for number, message in enumerate(messages) if message.get("weight") == 0)
