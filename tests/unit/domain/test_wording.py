"""Messages of validation are for those who write JSON and know no Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from app.domain.wording import in_words


class Limits(Struct, frozen=True):
    stored_bytes: int | None = None


Words = Annotated[list[Literal["read", "write"]], Meta(max_length=3)]


@pytest.mark.parametrize(
    ("type", "value", "told"),
    [
        (str | None, 5, "it: expected a string or null, got an integer"),
        (Annotated[int, Meta(ge=1)], 0, "it: expected an integer >= 1"),
        (Annotated[float, Meta(gt=0)], "x", "it: expected a number, got a string"),
        (bool, 1.5, "it: expected true or false, got a number"),
        (dict[str, str], [], "it: expected an object, got an array"),
        (dict[str, str], {"a": 1}, "it: expected a string, got an integer"),
        (Limits | None, {"stored_bytes": "x"}, "it.stored_bytes: expected an integer or null, got a string"),
        (Annotated[str, Meta(max_length=3)], "four", "it: expected a string of length <= 3"),
        (Annotated[str, Meta(pattern=r"^[^\x00]*$")], "\0", "it: expected a string without NUL characters"),
        (Annotated[str, Meta(pattern="^[0-9]$")], "x", "it: expected a string that matches ^[0-9]$"),
        (Literal["chat", "text"] | None, "chart", "it: value 'chart' is none of chat, text"),
        (Words, ["read", "run"], "it[1]: value 'run' is none of read, write"),
        (Literal["a"], "b" * 5000, f"it: value '{'b' * 63}… is none of a"),
    ],
)
def test_a_value_that_is_wrong_is_told_in_words_of_json(type: Any, value: Any, told: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, type, strict=True)
    assert in_words("it", caught.value, type) == told
