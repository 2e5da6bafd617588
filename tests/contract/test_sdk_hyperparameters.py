"""What the SDK knows of hyperparameters is what the service's table says."""

from __future__ import annotations

from typing import get_type_hints

from tunesmith._hyperparameters import HYPERPARAMETERS, Hyperparameters

from app.domain.hyperparameters import TABLE
from scripts.hyperparameters import PATH, text


def test_the_generated_module_is_current() -> None:
    assert PATH.read_text() == text(), "run `python -m scripts.hyperparameters`"


def test_it_has_every_row_and_a_typed_field_for_each() -> None:
    assert [each.name for each in HYPERPARAMETERS] == list(TABLE)
    assert get_type_hints(Hyperparameters).keys() == TABLE.keys()
    rank = HYPERPARAMETERS[0]
    assert (rank.type, rank.minimum, rank.maximum, rank.default) == ("int", 1, 256, 16)
