"""The smallest change that makes a run fit."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from app.catalogue.catalogue import CATALOGUE
from app.catalogue.fitting import smallest_change
from app.catalogue.memory import estimate
from app.domain.hyperparameters import Hyperparameters

ENTRY = CATALOGUE["smollm2-135m-instruct"]
LONG = 2048


def hyperparameters(**changed: Any) -> Hyperparameters:
    return Hyperparameters(**{"alpha": 32.0, "batch_size": 16, "max_length": 2048} | changed)


def needs(hyper: Hyperparameters, method: str = "supervised") -> int:
    return estimate(ENTRY, hyper, method=method, longest_row=LONG).total


def change(hyper: Hyperparameters, memory: int, method: str = "supervised", **fixed: Any) -> Any:
    return smallest_change(ENTRY, hyper, memory, method=method, longest_row=LONG, **fixed)


def test_nothing_is_changed_where_it_fits() -> None:
    assert change(hyperparameters(), needs(hyperparameters())) == {}


@pytest.mark.parametrize(
    ("start", "target"),
    [
        ({}, {"gradient_accumulation": 2}),
        ({}, {"gradient_accumulation": 16}),
        ({"batch_size": 1}, {"use_quantization": True}),
        ({"batch_size": 1, "use_quantization": True}, {"rank": 8, "alpha": 16.0}),
        ({"batch_size": 1, "use_quantization": True, "rank": 4}, {"max_length": 1024}),
        ({}, {"gradient_accumulation": 16, "use_quantization": True}),
    ],
)
def test_the_smallest_change_is_found(start: dict[str, Any], target: dict[str, Any]) -> None:
    hyper = hyperparameters(**start)
    assert change(hyper, needs(replace(hyper, **target))) == target


@pytest.mark.parametrize("method", ["supervised", "dpo"])
@pytest.mark.parametrize("gib", [1, 2, 3, 4, 6, 8, 12, 16])
def test_whatever_is_told_fits_and_keeps_a_batch_that_can_be_divided(gib: int, method: str) -> None:
    hyper = hyperparameters(batch_size=24, use_dora=True)
    found = change(hyper, gib * 1024**3, method)
    if found is not None:
        changed = replace(hyper, **found)
        assert needs(changed, method) <= gib * 1024**3
        assert changed.batch_size % changed.gradient_accumulation == 0
    else:
        assert gib <= 1


def test_nothing_helps_where_the_base_alone_is_too_large() -> None:
    assert change(hyperparameters(), 1024**3) is None


def test_the_rank_of_an_adapter_that_is_there_stays() -> None:
    hyper = hyperparameters(batch_size=1, use_quantization=True)
    room = needs(replace(hyper, rank=8))
    assert change(hyper, room, shape_is_fixed=True) == {"max_length": 1024}
