from __future__ import annotations

from typing import Any

import pytest

from app.catalogue.catalogue import CATALOGUE
from app.catalogue.memory import adapter_parameters, estimate
from app.domain.hyperparameters import Hyperparameters

ENTRY = CATALOGUE["smollm2-135m-instruct"]


def hyperparameters(**changed: Any) -> Hyperparameters:
    return Hyperparameters(**{"alpha": 32.0, "batch_size": 4, "max_length": 2048} | changed)


def test_an_adapter_has_as_many_numbers_as_peft_counts() -> None:
    assert adapter_parameters(ENTRY, 16) == 4_884_480  # print_trainable_parameters() of PEFT


def test_the_total_is_the_sum_of_its_parts() -> None:
    parts = estimate(ENTRY, hyperparameters())
    names = ("weights", "adapter", "optimizer", "activations", "logits", "runtime")
    assert parts.total == sum(getattr(parts, name) for name in names)
    assert all(getattr(parts, name) > 0 for name in names)


def test_weights_weigh_what_the_file_does_in_the_same_number_format() -> None:
    assert estimate(ENTRY, hyperparameters(), bytes_per_number=2).weights == 2 * ENTRY.parameters


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"batch_size": 8}, "activations"),
        ({"rank": 32}, "adapter"),
        ({"rank": 32}, "optimizer"),
    ],
)
def test_more_of_a_hyperparameter_needs_more_of_its_part(changed: dict[str, int], part: str) -> None:
    assert getattr(estimate(ENTRY, hyperparameters(**changed)), part) == 2 * getattr(
        estimate(ENTRY, hyperparameters()), part
    )


def test_quantisation_shrinks_the_linear_layers_and_nothing_else() -> None:
    plain, quantised = (
        estimate(ENTRY, hyperparameters()),
        estimate(ENTRY, hyperparameters(use_quantization=True)),
    )
    assert quantised.weights < plain.weights / 2
    assert quantised.activations - plain.activations == 4 * 3_538_944  # one layer's, out of 4 bits to be used


def test_rows_count_with_no_more_than_max_length() -> None:
    short, shorter = (estimate(ENTRY, hyperparameters(max_length=length)) for length in (128, 64))
    assert short.activations == 2 * shorter.activations
    assert estimate(ENTRY, hyperparameters(), longest_row=2048).activations > short.activations
    assert estimate(ENTRY, hyperparameters(), longest_row=128).activations == short.activations
    assert estimate(ENTRY, hyperparameters(), longest_row=1).activations == shorter.activations


def test_a_batch_in_parts_needs_no_more_than_a_part() -> None:
    whole, parts = (
        estimate(ENTRY, hyperparameters(batch_size=8, gradient_accumulation=count)) for count in (1, 4)
    )
    assert parts.activations * 4 == whole.activations


def test_an_adapter_on_fewer_layers_is_smaller_and_dora_makes_it_larger() -> None:
    few = estimate(ENTRY, hyperparameters(target_modules=("q_proj", "v_proj")))
    plain, dora = estimate(ENTRY, hyperparameters()), estimate(ENTRY, hyperparameters(use_dora=True))
    assert few.adapter < plain.adapter < dora.adapter
    assert dora.activations > plain.activations
    assert adapter_parameters(ENTRY, 16, ("q_proj",)) == 30 * 16 * (576 + 576)


def test_dpo_takes_two_answers_and_scores_them_a_tile_at_a_time() -> None:
    one, two = estimate(ENTRY, hyperparameters()), estimate(ENTRY, hyperparameters(), method="dpo")
    assert two.activations == 2 * one.activations
    assert two.logits == one.logits


def test_packed_rows_fill_the_whole_length() -> None:
    plain, packed = estimate(ENTRY, hyperparameters()), estimate(ENTRY, hyperparameters(packing=True))
    assert packed.activations == plain.activations * 2048 // 256
