"""Tools declared, called and answered: what is sound becomes a row, what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from app.datasets.formats import Row, read_row

ASKED = {"role": "user", "content": "Weather in Bern?"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ANSWERED = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
SAID = {"role": "assistant", "content": "It is sunny."}


def call(arguments: Any = '{"city": "Bern"}', id: Any = "call_1", name: Any = "weather") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)} | more


def row(*messages: Any, tools: Any = (TOOL,)) -> dict[str, Any]:
    return {"messages": [ASKED, *messages], "tools": list(tools)}


def told(value: Any) -> list[tuple[str, str]]:
    """Code and pointer of each fault and warning."""
    return [(fault.code, fault.pointer) for fault in read_row(value)[2]]


@pytest.mark.parametrize("arguments", ['{"city": "Bern"}', {"city": "Bern"}])
def test_a_call_and_its_answer_are_a_row_with_the_arguments_as_an_object(arguments: Any) -> None:
    made = call({"city": "Bern"})
    expected = Row(
        (ASKED, {"role": "assistant", "content": "", "tool_calls": [made]}, ANSWERED, SAID), (TOOL,)
    )
    assert read_row(row(calling(call(arguments)), ANSWERED, SAID)) == (expected, "chat", [])


@pytest.mark.parametrize(
    "value",
    [
        row(SAID),
        row(SAID, tools=()),
        row(calling(call())),
        row(calling(call(), call(id="call_2")), ANSWERED | {"tool_call_id": "call_2"}, ANSWERED, SAID),
        row(calling(call(), content="Let me see."), ANSWERED | {"name": "weather", "content": ""}, SAID),
        row(SAID | {"tool_calls": None, "function_call": None}),
        {"messages": [ASKED, calling(call(name="undeclared")), ANSWERED, SAID]},
    ],
)
def test_sound_conversations_with_tools_have_no_fault(value: Any) -> None:
    found, _, faults = read_row(value)
    assert isinstance(found, Row), faults
    assert [fault for fault in faults if not fault.warning] == []


MADE = "/messages/1/tool_calls"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (row(SAID) | {"tools": {}}, [("bad_tools", "/tools")]),
        (row(SAID, tools=["weather"]), [("bad_tools", "/tools/0")]),
        (row(SAID, tools=[{"type": "web", "function": {"name": "a"}}]), [("bad_tools", "/tools/0")]),
        (row(SAID, tools=[{"function": {"name": "a b"}}]), [("bad_tools", "/tools/0/function/name")]),
        (row(SAID, tools=[TOOL, TOOL]), [("bad_tools", "/tools/1/function/name")]),
        (
            row(SAID, tools=[{"function": {"name": "a", "parameters": [], "description": 1}}]),
            [("bad_tools", "/tools/0/function/parameters"), ("bad_tools", "/tools/0/function/description")],
        ),
        (row(calling()), [("bad_tool_call", MADE), ("not_text", "/messages/1/content")]),
        (row(calling("weather")), [("bad_tool_call", f"{MADE}/0")]),
        (row(calling({"id": "a", "name": "weather"})), [("bad_tool_call", f"{MADE}/0")]),
        (row(calling(call(id=None))), [("bad_tool_call", f"{MADE}/0/id")]),
        (row(calling(call(), call())), [("bad_tool_call", f"{MADE}/1/id")]),
        (row(calling(call(name=""))), [("bad_tool_call", f"{MADE}/0/function/name")]),
        (row(calling(call(name="other"))), [("unknown_tool", f"{MADE}/0/function/name")]),
        (
            row(calling(call(), call(name="x", id="b")), tools=()),
            [("unknown_tool", f"{MADE}/{n}/function/name") for n in (0, 1)],
        ),
        (row(calling(call("city=Bern"))), [("bad_tool_call", f"{MADE}/0/function/arguments")]),
        (row(calling(call("[]"))), [("bad_tool_call", f"{MADE}/0/function/arguments")]),
        (row(calling(call([]))), [("bad_tool_call", f"{MADE}/0/function/arguments")]),
        (row(calling(call(None))), [("bad_tool_call", f"{MADE}/0/function/arguments")]),
        (row(ASKED | {"tool_calls": [call()]}, SAID), [("bad_tool_call", MADE)]),
        (row(ANSWERED, SAID), [("unknown_call", "/messages/1/tool_call_id")]),
        (
            row(calling(call()), {"role": "tool", "content": "sunny"}, SAID),
            [("unknown_call", "/messages/2/tool_call_id"), ("unanswered_call", f"{MADE}/0/id")],
        ),
        (row(calling(call()), ANSWERED, ANSWERED, SAID), [("unknown_call", "/messages/3/tool_call_id")]),
        (row(calling(call()), SAID), [("unanswered_call", f"{MADE}/0/id")]),
        (row(calling(call()), ANSWERED), [("no_answer", "/messages/2/role")]),
        (row(SAID | {"tool_call_id": "call_1"}), [("unused_field", "/messages/1/tool_call_id")]),
    ],
)
def test_what_is_wrong_with_tools_is_told_by_its_place(value: Any, expected: list[tuple[str, str]]) -> None:
    assert told(value) == expected
    assert all(fault.fix for fault in read_row(value)[2])
