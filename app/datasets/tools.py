"""Tools in a conversation: declared, called by the assistant, answered by messages of the role `tool`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.datasets.faults import RowFault, at, kind_of, shown
from app.datasets.json_rows import decode

OLD_FIELDS = ("function_call", "functions")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CALL = '{"id": "call_1", "type": "function", "function": {"name": "…", "arguments": "{…}"}}'
TOOL = '{"type": "function", "function": {"name": "…", "parameters": {…}}}'


class Calls:
    """What is known of a conversation's calls so far: names declared, ids used, ids not answered yet."""

    def __init__(self, declared: frozenset[str] | None) -> None:
        self.declared = declared
        self.made: set[str] = set()
        self.open: dict[str, str] = {}

    def copy(self) -> Calls:
        """The same, to go on in another way."""
        twin = Calls(self.declared)
        twin.made, twin.open = set(self.made), dict(self.open)
        return twin


def calls_of(tools: Any) -> Calls:
    """The beginning of a conversation with these tools; without any, no name is checked."""
    if not isinstance(tools, list):
        return Calls(None)
    names = (
        tool["function"].get("name")
        for tool in tools
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    )
    return Calls(frozenset(name for name in names if isinstance(name, str)))


def old_faults(holder: Mapping[str, Any], pointer: str) -> Iterator[RowFault]:
    """The form that `tools` and `tool_calls` have replaced."""
    for key in OLD_FIELDS:
        if holder.get(key) is not None:
            fix = "write `tool_calls`" if key == "function_call" else "write `tools`"
            yield RowFault("unsupported_tools", at(pointer, key), f"{key} is not supported", fix)


def tools_faults(tools: Any, pointer: str) -> Iterator[RowFault]:
    """What is wrong with the tools that a row declares."""
    if tools is None:
        return
    if not isinstance(tools, list):
        yield RowFault("bad_tools", pointer, f"tools is {kind_of(tools)}, not a list", f"write [{TOOL}]")
        return
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        place = at(pointer, index)
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type", "function") != "function":
            yield RowFault("bad_tools", place, "the tool is no function with a name", f"write {TOOL}")
            continue
        name, parameters = function.get("name"), function.get("parameters")
        where = f"{place}/function"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            fix = "use 1 to 64 letters, digits, dots, dashes and underscores"
            yield RowFault("bad_tools", f"{where}/name", f"the tool's name is {shown(name)}", fix)
        elif name in seen:
            yield RowFault(
                "bad_tools", f"{where}/name", f"{shown(name)} is declared twice", "remove one of the two"
            )
        else:
            seen.add(name)
        if parameters is not None and not isinstance(parameters, dict):
            said = f"parameters is {kind_of(parameters)}, not a JSON schema"
            yield RowFault("bad_tools", f"{where}/parameters", said, "write an object, or leave it out")
        if not isinstance(function.get("description", ""), str):
            yield RowFault(
                "bad_tools", f"{where}/description", "the description is no string", "make it a string"
            )


def call_faults(made: Any, pointer: str, calls: Calls) -> Iterator[RowFault]:
    """What is wrong with the calls of an assistant's message; its ids are known from here on."""
    if not isinstance(made, list) or not made:
        said = "tool_calls is empty" if made == [] else f"tool_calls is {kind_of(made)}, not a list"
        yield RowFault("bad_tool_call", pointer, said, f"write [{CALL}], or leave it out")
        return
    for index, call in enumerate(made):
        place = at(pointer, index)
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or call.get("type", "function") != "function":
            said = "the call is none of a function, with a name and arguments"
            yield RowFault("bad_tool_call", place, said, f"write {CALL}")
            continue
        yield from _id_faults(call.get("id"), f"{place}/id", calls)
        name = function.get("name")
        if not isinstance(name, str) or not name:
            said = f"the function's name is {shown(name)}"
            yield RowFault("bad_tool_call", f"{place}/function/name", said, "name the function")
        elif calls.declared is not None and name not in calls.declared:
            said = f"no tool {shown(name)} is declared in `tools`"
            fix = "declare it in `tools`, or call one that is declared"
            yield RowFault("unknown_tool", f"{place}/function/name", said, fix)
        if arguments_of(function.get("arguments")) is None:
            given = function.get("arguments")
            said = "no JSON object" if isinstance(given, str) else kind_of(given)
            yield RowFault(
                "bad_tool_call",
                f"{place}/function/arguments",
                f"the arguments are {said}",
                'write a JSON object, or one as a string: "{}" when there are none',
            )


def _id_faults(id: Any, pointer: str, calls: Calls) -> Iterator[RowFault]:
    if not isinstance(id, str) or not id:
        yield RowFault("bad_tool_call", pointer, f"the call's id is {shown(id)}", 'write an id, "call_1"')
    elif id in calls.made:
        said = f"the id {shown(id)} is another call's already"
        yield RowFault("bad_tool_call", pointer, said, "give each call of a row an id of its own")
    else:
        calls.made.add(id)
        calls.open[id] = pointer


def answer_faults(message: Mapping[str, Any], pointer: str, calls: Calls) -> Iterator[RowFault]:
    """What is wrong with how a message of the role `tool` names the call that it answers."""
    id, place = message.get("tool_call_id"), at(pointer, "tool_call_id")
    if not isinstance(id, str) or id not in calls.made:
        said = (
            "tool_call_id is missing"
            if id is None
            else f"tool_call_id is {shown(id)}, the id of no call before"
        )
        yield RowFault("unknown_call", place, said, "write the id of the call that the message answers")
    elif id not in calls.open:
        said = f"the call {shown(id)} was answered before, or another message came between"
        yield RowFault("unknown_call", place, said, "put one answer for each call right behind the call")
    else:
        del calls.open[id]


def unanswered(calls: Calls) -> Iterator[RowFault]:
    """Calls that another message follows than their answers; they are forgotten."""
    for id, pointer in calls.open.items():
        fix = f'add a message {{"role": "tool", "tool_call_id": {json.dumps(id[:40])}, "content": "…"}}'
        yield RowFault(
            "unanswered_call", pointer, f"no message answers the call {shown(id)}", fix, warning=True
        )
    calls.open.clear()


def arguments_of(given: Any) -> dict[str, Any] | None:
    """A call's arguments as an object, however they are written; None when they are none."""
    if isinstance(given, str):
        sound, given, faults = decode(given)
        if not sound or faults:
            return None
    return given if isinstance(given, dict) else None


def call_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """A sound call as chat templates take it: arguments as an object."""
    function = given["function"]
    named = {"name": function["name"], "arguments": arguments_of(function["arguments"])}
    return {"id": given["id"], "type": "function", "function": named}


def tool_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """A sound tool as chat templates take it."""
    kept = ("name", "description", "parameters", "strict")
    return {
        "type": "function",
        "function": {key: given["function"][key] for key in kept if key in given["function"]},
    }
