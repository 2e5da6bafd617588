"""What is wrong with a value, in words."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from app.api.wording import in_words

Colour = Annotated[Literal["red", "green"] | None, Meta(description="Of it.")]


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Colour, "blue", "value 'blue' is none of red, green"),
        (Literal["red"], "", "value '' is none of red"),
        (Colour, 7, "expected `str | null`, got `int`"),
        (list[Colour], ["blue"], "invalid enum value 'blue' - at `$[0]`"),
        (int, "x", "expected `int`, got `str`"),
    ],
)
def test_a_fault_names_the_words_that_would_do(kind: type, value: object, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, kind)
    assert in_words(str(raised.value), kind) == words
