"""Preference pairs in every form that is in use."""

from __future__ import annotations

from typing import Any

import pytest

from app.datasets.formats import Pair, Row, read_row

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "How many?"}
SEVEN = {"role": "assistant", "content": "Seven."}
MANY = {"role": "assistant", "content": "Many."}
PAIR = Pair((ASKED,), (SEVEN,), (MANY,))


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "How many?", "chosen": "Seven.", "rejected": "Many."},
        {"prompt": [ASKED], "chosen": [SEVEN], "rejected": [MANY]},
        {"prompt": [ASKED], "chosen": "Seven.", "rejected": [MANY]},
        {"prompt": "How many?", "chosen": [ASKED, SEVEN], "rejected": [ASKED, MANY]},
        {"prompt": None, "chosen": [ASKED, SEVEN], "rejected": [ASKED, MANY]},
        {"input": {"messages": [ASKED]}, "preferred_output": [SEVEN], "non_preferred_output": [MANY]},
    ],
)
def test_every_form_of_a_pair_is_the_same_pair(value: dict[str, Any]) -> None:
    assert read_row(value) == (PAIR, "preference", [])


def test_of_each_side_only_what_follows_the_prompt_is_trained() -> None:
    prompt = [SYSTEM, ASKED, SEVEN, ASKED]
    pair, _, faults = read_row({"prompt": prompt, "chosen": [SEVEN], "rejected": [MANY]})
    assert isinstance(pair, Pair), faults
    assert pair.sides() == (
        Row((*prompt, SEVEN), untrained=(2,)),
        Row((*prompt, MANY), untrained=(2,)),
    )


def test_both_sides_can_call_the_tools_of_the_prompt() -> None:
    tool = {"type": "function", "function": {"name": "count"}}
    call = {"id": "a", "type": "function", "function": {"name": "count", "arguments": {}}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    value = {
        "input": {"messages": [ASKED], "tools": [tool], "parallel_tool_calls": True},
        "preferred_output": [calling],
        "non_preferred_output": [calling, {"role": "tool", "tool_call_id": "a", "content": "7"}, MANY],
    }
    pair, _, faults = read_row(value)
    assert isinstance(pair, Pair), faults
    assert (pair.tools, pair.chosen) == ((tool,), (calling,))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, [("equal_sides", "/rejected")]),
        ({"prompt": "a", "chosen": "Seven.", "rejected": [SEVEN]}, [("equal_sides", "/rejected")]),
        (
            {"input": {"messages": [ASKED]}, "preferred_output": [SEVEN], "non_preferred_output": [SEVEN]},
            [("equal_sides", "/non_preferred_output")],
        ),
        ({"chosen": "b", "rejected": "c"}, [("no_prompt", "/prompt")]),
        ({"chosen": [SEVEN], "rejected": [MANY]}, [("no_prompt", "/prompt")]),
        (
            {"input": [], "preferred_output": [SEVEN], "non_preferred_output": [MANY]},
            [("no_prompt", "/input/messages")],
        ),
        (
            {"prompt": "", "chosen": "b", "rejected": 7},
            [("empty_content", "/prompt"), ("not_text", "/rejected")],
        ),
        (
            {"prompt": "a", "chosen": [], "rejected": " "},
            [("not_text", "/chosen"), ("empty_content", "/rejected")],
        ),
        (
            {"prompt": "a", "chosen": [SEVEN | {"weight": 0}], "rejected": "c"},
            [("unsupported_weight", "/chosen/0/weight")],
        ),
        ({"prompt": [ASKED], "chosen": [ASKED], "rejected": "c"}, [("bad_side", "/chosen/0/role")]),
        (
            {
                "prompt": [ASKED],
                "chosen": [ASKED, {"role": "human", "content": "a"}],
                "rejected": [ASKED, MANY],
            },
            [("bad_role", "/chosen/1/role")],
        ),
        ({"prompt": "a", "chosen": "b"}, [("not_text", "/rejected")]),
        ({"prompt": "a", "rejected": " "}, [("not_text", "/chosen"), ("empty_content", "/rejected")]),
        ({"prompt": [ASKED], "chosen": [ASKED, SEVEN]}, [("not_text", "/rejected")]),
        ({"chosen": [ASKED, SEVEN]}, [("not_text", "/rejected")]),
        ({"chosen": "b"}, [("no_prompt", "/prompt"), ("not_text", "/rejected")]),
        ({"prompt": "a", "chosen": "b", "rejected": None}, [("not_text", "/rejected")]),
        (
            {"input": {"messages": [ASKED]}, "non_preferred_output": [MANY]},
            [("not_text", "/preferred_output")],
        ),
        ({"prompt": [ASKED, SEVEN], "chosen": "b", "rejected": "c"}, [("no_question", "/prompt/1/role")]),
        (
            {"prompt": [ASKED], "chosen": [SYSTEM, SEVEN], "rejected": "c"},
            [("late_system", "/chosen/0/role")],
        ),
    ],
)
def test_what_is_wrong_with_a_pair_is_told_by_its_place(value: Any, expected: list[tuple[str, str]]) -> None:
    row, form, faults = read_row(value)
    assert (row, form) == (None, "preference")
    assert [(fault.code, fault.pointer) for fault in faults] == expected
    assert all(fault.fix for fault in faults)
