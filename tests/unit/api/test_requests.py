"""Bodies and queries read with every fault told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.requests import read_fields
from app.api.schemas.accounts import AccountUpdate
from app.api.schemas.tunings import TuningRequest
from app.api.uploads import safe_name

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(TuningRequest.__struct_fields__) | st.text(), JSON))
def test_whatever_the_body_each_field_is_read_or_refused(body: dict[str, object]) -> None:
    values, faults = read_fields(TuningRequest, body)
    refused = {fault.param for fault in faults}
    for name in body:
        assert (name in values) != (name[:64] in refused)
    assert {"model", "training_file"} <= set(values) | refused
    assert all(fault.message for fault in faults)


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("train.jsonl", "train.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\train.jsonl", "train.jsonl"),
        ("a\x00b\r\nc", "abc"),
        ("", "file"),
        ("..", "file"),
        ("/", "file"),
        ("x" * 300, "x" * 255),
        ("名前.jsonl", "名前.jsonl"),
    ],
)
def test_a_file_name_is_a_label_and_never_a_path(given_name: str, name: str) -> None:
    assert safe_name(given_name) == name


@pytest.mark.parametrize(("given", "read"), [(1.0, 1), (1.5, None), (1e300, None), ("1", None), (True, None)])
def test_a_whole_number_may_be_written_as_a_float_and_nothing_else_is_one(
    given: Any, read: int | None
) -> None:
    limits, faults = read_fields(AccountUpdate, {"limits": {"running_tunings": given}})
    assert bool(faults) == (read is None)
    if read is not None:
        assert limits["limits"].running_tunings == read
        assert type(limits["limits"].running_tunings) is int
