"""Rows of two files in common, found by their digests alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from app.datasets import overlap as overlapping
from app.datasets import sorting
from app.datasets.check import DIGESTS_FILE, check
from app.datasets.overlap import NoDigests, Overlap, overlap


def digests(folder: Path, name: str, questions: list[int], form: str = "chat") -> Path:
    """The digests of a checked file with these rows."""
    lines = []
    for number in questions:
        asked = {"role": "user", "content": f"{number}?"}
        row = {"messages": [asked, {"role": "assistant", "content": "yes"}]}
        plain = {"prompt": f"{number}?", "completion": "yes"}
        lines.append(json.dumps(row if form == "chat" else plain) + "\n")
    work = folder / name
    work.mkdir()
    (work / "rows.jsonl").write_text("".join(lines))
    assert check(work / "rows.jsonl", work).fault_count == 0
    return work / DIGESTS_FILE


def test_rows_in_common_are_counted_and_the_first_lines_named(tmp_path: Path) -> None:
    training = digests(tmp_path, "training", [1, 2, 3, 3])
    assert overlap(training, digests(tmp_path, "a", [9, 3, 8, 3, 1])) == Overlap(3, 5, (2, 4, 5))
    assert overlap(training, digests(tmp_path, "b", [7, 8])) == Overlap(0, 2, ())
    assert overlap(training, training) == Overlap(4, 4, (1, 2, 3, 4))


def test_the_same_row_in_another_format_is_the_same(tmp_path: Path) -> None:
    training = digests(tmp_path, "training", [1, 2])
    assert overlap(training, digests(tmp_path, "plain", [2], "prompt_completion")).rows == 1


@pytest.mark.parametrize("at_a_time", [1, 2, 7, 1000])
def test_large_files_are_compared_piece_by_piece(
    tmp_path: Path, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlapping, "AT_A_TIME", at_a_time)
    monkeypatch.setattr(overlapping, "LINES_TOLD", 10)
    monkeypatch.setattr(sorting, "IN_MEMORY", 50)
    rng = random.Random(at_a_time)
    trained = [rng.randrange(400) for _ in range(300)]
    asked = [rng.randrange(400) for _ in range(200)]
    common = [line for line, number in enumerate(asked, 1) if number in trained]
    found = overlap(digests(tmp_path, "t", trained), digests(tmp_path, "v", asked))
    assert found == Overlap(len(common), 200, tuple(common[:10]))


def test_what_holds_no_digests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(NoDigests):
        overlap(tmp_path / "other", tmp_path / "other")
