"""Rows of a training file: what one line may hold, and every way in which it does not."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

ROLES = ("system", "user", "assistant", "tool")
SHOWN = 60


class RowFault(Struct, frozen=True):
    """One thing wrong in a row: a stable code, a JSON pointer, a sentence, and how to mend it."""

    code: str
    pointer: str
    message: str
    fix: str = ""


class Row(Struct, frozen=True):
    """A row as it is trained on: chat messages of `role` and `content`."""

    messages: tuple[dict[str, str], ...]


def read_row(value: Any) -> tuple[Row | None, str | None, list[RowFault]]:
    """The row in a decoded line, its format (`chat`, `prompt_completion`), and all its faults."""
    if not isinstance(value, dict):
        return None, None, [RowFault("not_an_object", "", "the line is not a JSON object", 'write {"messages": […]}')]
    if "messages" in value:
        faults = _message_faults(value["messages"])
        messages = value["messages"] if not faults else []
        row = Row(tuple({"role": m["role"], "content": m["content"]} for m in messages))
        return (None if faults else row), "chat", faults
    if "prompt" in value or "completion" in value:
        faults = [
            RowFault("not_text", f"/{name}", f"{name} is missing or not a text", f"make {name} a non-empty string")
            for name in ("prompt", "completion")
            if not isinstance(value.get(name), str) or not value[name].strip()
        ]
        if faults:
            return None, "prompt_completion", faults
        turns = ({"role": "user", "content": value["prompt"]}, {"role": "assistant", "content": value["completion"]})
        return Row(turns), "prompt_completion", []
    keys = ", ".join(list(map(str, value))[:5]) or "no keys"
    fault = RowFault(
        "no_messages",
        "",
        f"the row has no `messages` (it has {keys[:SHOWN]})",
        'write {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
    )
    return None, None, [fault]


def _message_faults(messages: Any) -> list[RowFault]:
    if not isinstance(messages, list) or not messages:
        return [RowFault("no_messages", "/messages", "`messages` is not a list with messages in it")]
    faults: list[RowFault] = []
    for number, message in enumerate(messages):
        where = f"/messages/{number}"
        if not isinstance(message, dict):
            faults.append(RowFault("not_an_object", where, "the message is not an object"))
            continue
        role = message.get("role")
        if role not in ROLES:
            shown = repr(role)[:SHOWN]
            faults.append(RowFault("bad_role", f"{where}/role", f"role is {shown}", f"use one of {', '.join(ROLES)}"))
        content = message.get("content")
        if not isinstance(content, str):
            faults.append(RowFault("not_text", f"{where}/content", "content is missing or not a text"))
        elif not content.strip() and role == "assistant":
            faults.append(RowFault("empty_answer", f"{where}/content", "the assistant's content is empty"))
        if role == "system" and number > 0:
            faults.append(RowFault("late_system", f"{where}/role", "a system message may only come first"))
    last = messages[-1]
    if isinstance(last, dict) and last.get("role") in ROLES and last["role"] != "assistant":
        faults.append(
            RowFault(
                "no_answer",
                f"/messages/{len(messages) - 1}/role",
                f"the last message is from {last['role']}: there is no answer to learn",
                "end each row with an assistant message",
            )
        )
    return faults
