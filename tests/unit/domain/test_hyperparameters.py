"""Hyperparameters: defaults, `auto`, bounds, and all faults at once."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.hyperparameters import Hyperparameters, auto_batch_size, resolve


def resolved(given: dict[str, Any], rows: int = 240, context_length: int = 8192) -> Hyperparameters:
    result = resolve(given, rows=rows, context_length=context_length)
    assert isinstance(result, Hyperparameters), result
    return result


def faults(given: dict[str, Any]) -> dict[str, str]:
    result = resolve(given, rows=240, context_length=8192)
    assert isinstance(result, tuple), result
    return {fault.param: fault.message for fault in result}


def test_nothing_given_is_the_defaults() -> None:
    made = resolved({})
    assert (made.rank, made.alpha, made.epochs, made.batch_size) == (16, 32.0, 3, 4)
    assert (made.learning_rate, made.max_length) == (2e-4, 2048)


def test_alpha_follows_the_rank_unless_it_is_given() -> None:
    assert resolved({"rank": 8}).alpha == 16.0
    assert resolved({"rank": 8, "alpha": 4}).alpha == 4.0


def test_a_short_context_bounds_the_length() -> None:
    assert resolved({}, context_length=512).max_length == 512


def test_auto_is_the_same_as_not_given() -> None:
    assert resolved({"batch_size": "auto", "alpha": "auto"}) == resolved({})


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (95, 1), (96, 2), (192, 4), (10_000, 16)])
def test_the_batch_grows_with_the_rows(rows: int, size: int) -> None:
    assert auto_batch_size(rows) == size


def test_the_older_nested_form_is_taken() -> None:
    made = resolved({"lora": {"rank": 4}, "training": {"epochs": 1}, "use_quantization": True})
    assert (made.rank, made.epochs, made.use_quantization) == (4, 1, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", 0),
        ("rank", 257),
        ("rank", 1.5),
        ("rank", "8"),
        ("rank", True),
        ("learning_rate", -1),
        ("learning_rate", 0),
        ("epochs", 0),
        ("batch_size", 0),
        ("dropout", 1.0),
        ("use_quantization", "yes"),
        ("scheduler", "auto"),
        ("max_length", 8193),
    ],
)
def test_a_value_out_of_bounds_is_a_fault_that_names_it(name: str, value: Any) -> None:
    assert list(faults({name: value})) == [f"hyperparameters.{name}"]


def test_all_faults_are_told_at_once() -> None:
    found = faults({"rank": 0, "learning_rate": -1, "colour": "red"})
    assert set(found) == {f"hyperparameters.{name}" for name in ("rank", "learning_rate", "colour")}


def test_a_value_given_twice_and_differently_is_a_fault() -> None:
    assert "given twice" in faults({"rank": 8, "lora": {"rank": 16}})["hyperparameters.rank"]
