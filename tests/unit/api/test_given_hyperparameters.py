"""The request's schema for hyperparameters takes what `resolve` takes, and nothing else."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from app.api.schemas.hyperparameters import Given
from app.domain.hyperparameters import TABLE, Hyperparameters, resolve

SCHEMA = msgspec.json.schema(Given)
VALUES: list[Any] = [
    *(-1, 0, 1, 2, 15, 16, 17, 100, 101, 256, 257, 1024, 1025, 10**7, 10**7 + 1, 10**9),
    *(-0.5, 0.0, 1e-9, 0.03, 0.5, 0.999, 1.0, 1.5, 1000.0, 1000.5),
    *(True, False, None, "auto", "", "cosine", "linear", "constant", "assistant", "all", "all-linear"),
    *([], ["q_proj"], ["q proj"], [1], {}, {"a": 1}),
]


@pytest.mark.parametrize("name", TABLE)
def test_the_schema_takes_what_is_taken(name: str) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for value in VALUES:
        # What goes with others is another matter: room for all of it.
        resolved = resolve(
            {name: value},
            rows=1,
            context_length=2**20,
            method="dpo" if name == "beta" else "supervised",
            validation=True,
        )
        faults = [] if isinstance(resolved, Hyperparameters) else [fault.message for fault in resolved]
        together = ("passes over", "without early_stopping_patience")
        faults = [fault for fault in faults if not any(words in fault for words in together)]
        assert validator.is_valid({name: value}) == (not faults), (value, faults)


@pytest.mark.parametrize("name", TABLE)
def test_each_field_is_described_with_its_default_and_how_it_is_derived(name: str) -> None:
    schema, row = SCHEMA["properties"][name], TABLE[name]
    assert schema["description"].startswith(row.description)
    assert schema["default"] == row.default
    assert ({"enum": ["auto"]} in schema["anyOf"]) == (row.auto is not None)
    assert row.auto is None or row.auto in schema["description"]


def test_the_older_form_is_in_it_and_what_is_not_known_is_not() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert validator.is_valid({"lora": {"rank": 8}, "training": {"epochs": 1}})
    assert validator.is_valid({"lora": {}, "training": None})
    assert not validator.is_valid({"colour": "red"})
