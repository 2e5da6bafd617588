"""Hyperparameters: defaults, `auto`, bounds, and all faults at once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from app.domain.hyperparameters import SHAPE, TABLE, Hyperparameters, auto_batch_size, resolve


def resolved(
    given: dict[str, Any], rows: int = 240, context_length: int = 8192, **known: Any
) -> Hyperparameters:
    result = resolve(given, rows=rows, context_length=context_length, **known)
    assert isinstance(result, Hyperparameters), result
    return result


def faults(given: dict[str, Any], **known: Any) -> dict[str, str]:
    result = resolve(given, rows=240, context_length=8192, **known)
    assert isinstance(result, tuple), result
    return {fault.param.removeprefix("hyperparameters."): fault.message for fault in result}


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
    assert resolved({"lora": None, "training": None}) == resolved({})
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
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("alpha", 10**400),
        ("alpha", -(10**400)),
        ("epochs", 10**30),
        ("max_steps", 0),
        ("max_steps", False),
        ("target_modules", []),
        ("target_modules", "q_proj"),
        ("target_modules", ["q_proj", 3]),
        ("target_modules", ["../../etc"]),
        ("target_modules", ["q"] * 65),
        ("train_on", "user"),
        ("packing", 1),
        ("checkpoints_kept", 0),
        ("rank", "auto"),
        ("rank", [[[]]]),
    ],
)
def test_a_value_out_of_bounds_is_a_fault_that_names_it(name: str, value: Any) -> None:
    assert list(faults({name: value})) == [name]


def test_all_faults_are_told_at_once() -> None:
    found = faults({"rank": 0, "learning_rate": -1, "colour": "red"})
    assert set(found) == {"rank", "learning_rate", "colour"}


def test_a_value_given_twice_and_differently_is_a_fault() -> None:
    assert "given twice" in faults({"rank": 8, "lora": {"rank": 16}})["rank"]


def test_what_cannot_be_together_is_told_all_at_once() -> None:
    found = faults(
        {
            "rank": 0,
            "epochs": 2,
            "max_steps": 10,
            "batch_size": 8,
            "gradient_accumulation": 3,
            "early_stopping_patience": 2,
            "eval_every": 5,
            "beta": 0.2,
        }
    )
    assert set(found) == {
        "rank",
        "max_steps",
        "gradient_accumulation",
        "early_stopping_patience",
        "eval_every",
        "beta",
    }
    assert "not both" in found["max_steps"]
    assert "8 cannot be taken in 3 equal parts" in found["gradient_accumulation"]
    assert "validation_file" in found["eval_every"]


@pytest.mark.parametrize(
    ("given", "known", "param"),
    [
        ({"early_stopping_min_delta": 0.1}, {"validation": True}, "early_stopping_min_delta"),
        ({"packing": True}, {"method": "dpo"}, "packing"),
        ({"train_on": "all"}, {"method": "dpo"}, "train_on"),
        ({"max_steps": 24_001, "batch_size": 1}, {}, "max_steps"),
    ],
)
def test_so_is_each_alone(given: dict[str, Any], known: dict[str, Any], param: str) -> None:
    assert list(faults(given, **known)) == [param]


def test_a_number_of_steps_tells_how_many_epochs_it_takes() -> None:
    made = resolved({"max_steps": 25, "batch_size": 24})
    assert (made.max_steps, made.epochs) == (25, 3)
    assert resolved({"max_steps": 24_000, "batch_size": 1}).epochs == 100


def test_a_large_batch_is_taken_in_parts_of_at_most_sixteen_rows() -> None:
    parts = {size: resolved({"batch_size": size}).gradient_accumulation for size in (1, 16, 32, 48, 17, 1024)}
    assert parts == {1: 1, 16: 1, 32: 2, 48: 3, 17: 17, 1024: 64}


def test_a_derived_batch_can_be_taken_in_the_parts_that_were_given() -> None:
    assert resolved({"gradient_accumulation": 3}).batch_size == 3
    assert resolved({"gradient_accumulation": 8}).batch_size == 8
    assert resolved({"gradient_accumulation": 2}).batch_size == 4


def test_rslora_keeps_the_scale_that_lora_has() -> None:
    assert resolved({"rank": 64, "use_rslora": True}).alpha == 16.0


def test_dpo_derives_its_own_beta_and_learning_rate() -> None:
    made = resolved({}, method="dpo")
    assert (made.beta, made.learning_rate) == (0.1, 2e-5)
    assert resolved({"beta": 0.5, "learning_rate": 1e-6}, method="dpo").learning_rate == 1e-6
    assert resolved({}).beta is None


def test_an_adapter_to_go_on_from_keeps_its_shape() -> None:
    earlier = resolved({"rank": 8, "use_dora": True, "target_modules": ["q_proj"], "epochs": 9})
    later = resolved({"rank": 8, "epochs": 1}, adapter=earlier)
    assert [getattr(later, name) for name in SHAPE] == [getattr(earlier, name) for name in SHAPE]
    assert later.epochs == 1
    assert set(faults({"rank": 4, "alpha": 1}, adapter=earlier)) == {"rank", "alpha"}


@pytest.mark.parametrize("name", TABLE)
def test_each_row_tells_what_it_means_and_its_default_can_be_given(name: str) -> None:
    row = TABLE[name]
    assert row.description.endswith((".", ";"))
    assert resolved({name: row.default}, validation=True) == resolved({}, validation=True)
    assert resolved({name: None}) == resolved({})
    if row.auto is not None:
        assert resolved({name: "auto"}) == resolved({})


def test_a_whole_number_may_be_written_as_a_float() -> None:
    resolved = resolve({"epochs": 2.0}, rows=8, context_length=2048)
    assert isinstance(resolved, Hyperparameters)
    assert (resolved.epochs, type(resolved.epochs)) == (2, int)
