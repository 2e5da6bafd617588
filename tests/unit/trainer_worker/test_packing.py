"""Rows laid into sequences."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.datasets.tokenise import Tokens
from app.trainer_worker.training.packing import pack


def row(size: int, number: int = 0) -> Tokens:
    return Tokens([number] * size, [number] * size, 0, 0)


def sizes(rows: list[list[Tokens]]) -> list[list[int]]:
    return [[len(one.input_ids) for one in sequence] for sequence in rows]


def test_a_row_goes_where_it_leaves_least_room() -> None:
    rows = [row(size) for size in (3, 6, 5, 10, 4, 1)]
    assert sizes(pack(rows, 10)) == [[10], [6, 4], [5, 3, 1]]


@given(st.lists(st.integers(1, 64), max_size=200))
def test_every_row_is_in_one_sequence_that_it_fits_into(lengths: list[int]) -> None:
    rows = [row(size, number) for number, size in enumerate(lengths)]
    packed = pack(rows, 64)
    assert Counter(one.input_ids[0] for sequence in packed for one in sequence) == Counter(range(len(rows)))
    totals = [sum(each) for each in sizes(packed)]
    assert all(0 < total <= 64 for total in totals)
    # No two could have been one, or a row would have gone into the fuller of them.
    assert all(one + other > 64 for at, one in enumerate(totals) for other in totals[:at])
    assert pack(rows, 64) == packed
