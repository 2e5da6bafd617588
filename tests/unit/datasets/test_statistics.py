from __future__ import annotations

import random
from typing import Any

from app.datasets.formats import AnyRow, Pair, Row, Text
from app.datasets.sizes import AROUND_A_MESSAGE
from app.datasets.statistics import Counter, Spread


def test_quantiles_of_short_lengths_are_exact() -> None:
    spread = Spread()
    for value in range(1, 101):
        spread.add(value)
    lengths = spread.lengths()
    assert lengths is not None
    assert (lengths.smallest, lengths.p50, lengths.p90, lengths.p99, lengths.largest) == (1, 50, 90, 99, 100)
    assert lengths.mean == 50.5


def test_quantiles_of_long_lengths_are_within_a_hundredth() -> None:
    rng = random.Random(1)
    values = sorted(int(rng.lognormvariate(9, 2)) for _ in range(20_001))
    spread = Spread()
    for value in values:
        spread.add(value)
    lengths = spread.lengths()
    assert lengths is not None
    for found, share in ((lengths.p50, 0.5), (lengths.p90, 0.9), (lengths.p99, 0.99)):
        exact = values[int(share * len(values))]
        assert abs(found - exact) <= exact / 100
    assert lengths.largest == values[-1]


def test_a_histogram_stays_small_however_many_values_it_takes() -> None:
    spread = Spread()
    for value in range(0, 50_000_000, 997):
        spread.add(value)
    assert len(spread._cells) < 7_000


def test_nothing_counted_has_no_lengths() -> None:
    statistics = Counter().statistics(bytes=0, duplicate_rows=0)
    assert (statistics.rows, statistics.characters_per_row, statistics.messages_per_row) == (0, None, None)


def test_rows_are_counted_by_messages_roles_and_characters() -> None:
    counter = Counter()
    counter.add(Row(({"role": "user", "content": "ab"}, {"role": "assistant", "content": "äö€"})))
    statistics = counter.statistics(bytes=9, duplicate_rows=0)
    assert statistics.roles == {"assistant": 1, "user": 1}
    assert (statistics.characters, statistics.messages, statistics.bytes) == (5, 2, 9)


def test_texts_pairs_and_calls_are_counted_as_well() -> None:
    counter = Counter()
    asked, said = {"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}
    assert counter.add(Text("abcd")) == 4
    assert counter.add(Pair((asked,), (said,), (said,))) == 4
    assert counter.add(Row((asked, said | {"tool_calls": [{}, {}]}), ({},))) == 3
    statistics = counter.statistics(bytes=1, duplicate_rows=0)
    assert (statistics.characters, statistics.messages, statistics.rows) == (11, 5, 3)
    assert statistics.roles == {"assistant": 3, "user": 2}
    assert (statistics.tool_calls, statistics.rows_with_tools) == (2, 1)


def test_the_longest_row_is_told_in_tokens_whatever_it_is_written_in() -> None:
    def longest(row: AnyRow) -> int:
        counter = Counter()
        for one in (Text("a"), row, Text("b")):
            counter.add(one)
        return counter.statistics(bytes=1, duplicate_rows=0).longest_row

    def says(content: str, **more: Any) -> dict[str, Any]:
        return {"role": "assistant", "content": content} | more

    assert longest(Text("a" * 300)) == 100
    assert longest(Text("ü" * 300)) == 100 + 300
    assert longest(Text("語" * 300)) == 100 + 600
    assert longest(Row((says("a" * 300), says("")))) == 100 + 2 * AROUND_A_MESSAGE
    assert longest(Row((says(""),), ({"name": "a" * 300},))) > 100
    assert longest(Row((says("", tool_calls=[{"arguments": "a" * 300}]),))) > 100
    # Of a pair the longer side: the sides are two sequences.
    sides = longest(Pair((says("a" * 30),), (says("a" * 300),), (says("a" * 270),)))
    assert sides == 10 + 100 + 2 * AROUND_A_MESSAGE
