from __future__ import annotations

from typing import Any

import pytest

from app.datasets.formats import Row, Text, detect, fits, read_row

QUESTION = {"role": "user", "content": "How many?"}
ANSWER = {"role": "assistant", "content": "Seven."}


def codes(value: Any) -> list[tuple[str, str]]:
    """Code and pointer of each fault."""
    return [(fault.code, fault.pointer) for fault in read_row(value)[2] if not fault.warning]


def chat(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def test_a_chat_row_is_read_with_role_and_content_only() -> None:
    row, form, faults = read_row(chat(QUESTION | {"name": "Ann"}, ANSWER))
    assert row == Row((QUESTION, ANSWER))
    assert form == "chat"
    assert [(fault.code, fault.pointer, fault.warning) for fault in faults] == [
        ("unused_field", "/messages/0/name", True)
    ]


def test_prompt_and_completion_become_a_question_and_an_answer() -> None:
    row, form, _ = read_row({"prompt": "How many?", "completion": "Seven."})
    assert (row, form) == (Row((QUESTION, ANSWER)), "prompt_completion")


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"messages": []}, "chat"),
        ({"prompt": "a", "completion": "b"}, "prompt_completion"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"input": {}, "preferred_output": [], "non_preferred_output": []}, "preference"),
        ({"prompt": "a", "chosen": "b"}, "preference"),
        ({"rejected": "b"}, "preference"),
        ({"input": {}, "preferred_output": []}, "preference"),
        ({"prompt": "a", "completion": "b", "chosen": "c"}, "prompt_completion"),
        ({"text": "a"}, "text"),
        ({"text": "a", "rejected": True}, "text"),
        ({"instruction": "a"}, None),
    ],
)
def test_a_format_is_known_by_its_keys(row: dict[str, Any], form: str | None) -> None:
    assert detect(row) == form


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (["a"], [("not_an_object", "")]),
        ("a", [("not_an_object", "")]),
        ({}, [("no_messages", "")]),
        ({"text": " "}, [("not_text", "/text")]),
        ({"text": ["a"]}, [("not_text", "/text")]),
        ({"prompt": "a", "completion": ""}, [("not_text", "/completion")]),
        ({"prompt": "a"}, [("not_text", "/completion")]),
        ({"messages": "hello"}, [("no_messages", "/messages")]),
        (chat(), [("no_messages", "/messages")]),
        (chat("hello", ANSWER), [("not_an_object", "/messages/0")]),
        (chat({"role": "human", "content": "a"}, ANSWER), [("bad_role", "/messages/0/role")]),
        (chat({"content": "a"}, ANSWER), [("bad_role", "/messages/0/role")]),
        (chat({"role": 7, "content": "a"}, ANSWER), [("bad_role", "/messages/0/role")]),
        (chat({"role": "user"}, ANSWER), [("not_text", "/messages/0/content")]),
        (chat({"role": "user", "content": None}, ANSWER), [("not_text", "/messages/0/content")]),
        (
            chat({"role": "user", "content": [{"type": "text"}]}, ANSWER),
            [("not_text", "/messages/0/content")],
        ),
        (chat({"role": "user", "content": " \n"}, ANSWER), [("empty_content", "/messages/0/content")]),
        (chat(QUESTION, {"role": "assistant", "content": ""}), [("empty_content", "/messages/1/content")]),
        (
            chat(QUESTION, ANSWER, {"role": "system", "content": "a"}, ANSWER),
            [("late_system", "/messages/2/role")],
        ),
        (chat(QUESTION), [("no_answer", "/messages/0/role")]),
        (chat(QUESTION, ANSWER, QUESTION), [("no_answer", "/messages/2/role")]),
        (chat(QUESTION, ANSWER | {"weight": 0}), [("nothing_trained", "/messages")]),
        (chat(QUESTION, ANSWER | {"weight": 2}), [("unsupported_weight", "/messages/1/weight")]),
        (chat(QUESTION, ANSWER | {"weight": True}), [("unsupported_weight", "/messages/1/weight")]),
        (chat(QUESTION | {"weight": 0}, ANSWER), [("unsupported_weight", "/messages/0/weight")]),
        (chat(QUESTION, {"role": "function", "content": "a"}, ANSWER), [("bad_role", "/messages/1/role")]),
        (
            chat(QUESTION, ANSWER | {"function_call": {}}) | {"functions": []},
            [("unsupported_tools", "/functions"), ("unsupported_tools", "/messages/1/function_call")],
        ),
    ],
)
def test_each_fault_has_a_code_and_points_at_its_place(row: Any, expected: list[tuple[str, str]]) -> None:
    assert codes(row) == expected
    assert read_row(row)[0] is None


@pytest.mark.parametrize(
    ("row", "places"),
    [
        (chat(QUESTION, ANSWER) | {"text": "a", "id": 7, "note": None}, ["/text", "/id"]),
        (chat(QUESTION, ANSWER) | {"tools": None, "parallel_tool_calls": False}, []),
        ({"prompt": "a", "completion": "b", "weight": 0, "label": True}, ["/weight", "/label"]),
        ({"text": "a", "label": "b", "note": None}, ["/label"]),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "score": 0.5}, ["/score"]),
        (
            {
                "input": {"messages": [QUESTION], "parallel_tool_calls": True, "a": 1},
                "preferred_output": [ANSWER],
                "non_preferred_output": "no",
                "tools": [],
            },
            ["/tools", "/input/a"],
        ),
    ],
)
def test_a_rows_field_that_nothing_uses_is_a_warning(row: dict[str, Any], places: list[str]) -> None:
    read, _, faults = read_row(row)
    assert read is not None, faults
    assert [fault.pointer for fault in faults] == places
    assert {(fault.code, fault.warning) for fault in faults} <= {("unused_field", True)}


def test_a_weight_beside_a_completion_is_told_where_it_would_count() -> None:
    [fault] = read_row({"prompt": "a", "completion": "b", "weight": 0})[2]
    assert "trained whatever it says" in fault.message
    assert "as messages" in fault.fix


def test_an_answer_with_the_weight_0_is_read_and_not_trained() -> None:
    row, _, faults = read_row(chat(QUESTION, ANSWER | {"weight": 0}, QUESTION, ANSWER | {"weight": 1}))
    assert (row, faults) == (Row((QUESTION, ANSWER, QUESTION, ANSWER), untrained=(1,)), [])


def test_a_text_is_trained_as_it_stands() -> None:
    assert read_row({"text": "Seven. "}) == (Text("Seven. "), "text", [])


@pytest.mark.parametrize(
    ("form", "method", "expected"),
    [
        ("chat", "supervised", True),
        ("prompt_completion", "supervised", True),
        ("text", "supervised", True),
        ("preference", "supervised", False),
        ("preference", "dpo", True),
        ("chat", "dpo", False),
        ("chat", "unheard_of", False),
        (None, "supervised", False),
    ],
)
def test_each_method_takes_its_formats(form: str | None, method: str, expected: bool) -> None:
    assert fits(form, method) is expected


def test_every_fault_of_a_row_is_told_and_not_only_the_first() -> None:
    row = chat({"role": "human", "content": ""}, {"role": "assistant", "content": 7}, {"role": "user"})
    assert codes(row) == [
        ("bad_role", "/messages/0/role"),
        ("empty_content", "/messages/0/content"),
        ("not_text", "/messages/1/content"),
        ("not_text", "/messages/2/content"),
        ("no_answer", "/messages/2/role"),
    ]


def test_a_common_mistake_in_a_role_comes_with_the_right_word() -> None:
    (fault,) = read_row(chat({"role": "Human", "content": "a"}, ANSWER))[2]
    assert fault.fix == "write 'user'"


def test_an_empty_system_message_only_warns() -> None:
    row, _, faults = read_row(chat({"role": "system", "content": ""}, QUESTION, ANSWER))
    assert row is not None
    assert [(fault.code, fault.warning) for fault in faults] == [("empty_content", True)]


def test_a_pointer_escapes_what_json_pointers_escape() -> None:
    (fault,) = read_row(chat(QUESTION, ANSWER | {"a/b~c": 1}))[2]
    assert fault.pointer == "/messages/1/a~1b~0c"


def test_what_is_shown_of_a_value_is_cut() -> None:
    (fault,) = read_row(chat({"role": "x" * 10_000, "content": "a"}, ANSWER))[2]
    assert len(fault.message) < 80


def test_a_row_of_faults_without_end_is_told_as_that() -> None:
    faults = read_row(chat(*[1] * 20_000))[2]
    assert (len(faults), faults[-1].code) == (10_001, "more_faults")


def test_a_pointer_keeps_only_the_beginning_of_an_endless_key() -> None:
    (fault,) = read_row(chat(QUESTION, ANSWER | {"x" * 10_000: 1}))[2]
    assert len(fault.pointer) < 100
