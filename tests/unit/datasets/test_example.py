"""The example's rows: sound, reproducible, and with nothing of the held-out ones in training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.datasets.check import check
from examples.order_mails import make_data
from examples.order_mails.score import right

FOLDER = Path(make_data.__file__).parent
RECORD = '{"product": "red mugs", "quantity": 4, "day": "Monday"}'


@pytest.mark.parametrize("name", ["train", "validation", "heldout"])
def test_an_example_file_is_sound_and_without_repetition(name: str) -> None:
    report = check(FOLDER / f"{name}.jsonl")
    assert (report.fault_count, report.warning_count) == (0, 0)
    assert report.rows == make_data.ROWS[name]


def test_the_committed_rows_are_what_the_generator_writes(tmp_path: Path) -> None:
    make_data.write(tmp_path)
    for name in make_data.ROWS:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (FOLDER / f"{name}.jsonl").read_bytes()


def test_no_two_files_share_a_noun_an_order_or_a_remark() -> None:
    wordings = list(make_data.WORDINGS.values())
    for index, one in enumerate(wordings):
        for other in wordings[index + 1 :]:
            assert not set(one.nouns) & set(other.nouns)
            assert not set(one.orders) & set(other.orders)
            assert not (set(one.dated) | set(one.undated)) & (set(other.dated) | set(other.undated)) - {""}


def test_no_heldout_product_is_ordered_in_training() -> None:
    products = [
        {json.loads(json.loads(line)["messages"][-1]["content"])["product"] for line in lines}
        for lines in ((FOLDER / f"{name}.jsonl").read_text().splitlines() for name in ("train", "heldout"))
    ]
    assert not products[0] & products[1]


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        (RECORD, True),
        ('{"day":"Monday","quantity":4,"product":"red mugs"}', True),
        (RECORD + " Have a nice day!", False),
        ("```json\n" + RECORD + "\n```", False),
        (RECORD.replace("4", "4.0"), False),
        (RECORD.replace('"Monday"', "null"), False),
        (RECORD.replace("4", '"4"'), False),
        (RECORD.replace("}", ', "note": ""}'), False),
        ("[]", False),
        ("4", False),
        ("", False),
    ],
)
def test_only_the_very_record_counts_as_right(answer: str, is_right: bool) -> None:
    assert right(answer, RECORD) is is_right
