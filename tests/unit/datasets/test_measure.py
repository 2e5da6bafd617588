"""A tuning's files as the model reads them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE
from app.datasets.measure import Measure, Request, measure

MODEL = next(iter(CATALOGUE.values()))


@pytest.fixture(scope="module")
def folder(cache_dir: Path) -> Path:
    return ensure_model(cache_dir, MODEL)


def chat(question: str, answer: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}, ensure_ascii=False)


def written(path: Path, *rows: str) -> str:
    path.write_text("\n".join(rows) + "\n")
    return str(path)


@pytest.fixture
def asked(folder: Path, tmp_path: Path) -> Any:
    def request(*rows: str, **changed: Any) -> Measure:
        values: dict[str, Any] = {
            "model_dir": str(folder),
            "training_file": written(tmp_path / "train.jsonl", *rows),
            "max_length": 2048,
            "seconds": 60.0,
        }
        return measure(Request(**values | changed))

    return request


def test_tokens_are_counted_and_those_that_are_learned(asked: Any) -> None:
    found = asked(chat("1 + 1?", "2"), chat("2 + 2?", "4 and more"))
    assert (found.training.rows, found.complete, found.findings) == (2, True, ())
    assert found.training.trainable == 2 + 4  # each ends with its end-of-turn token
    assert found.training.cut == 0
    assert found.training.longest == found.training.lengths.largest
    everything = asked(chat("1 + 1?", "2"), chat("2 + 2?", "4 and more"), train_on="all")
    assert everything.training.trainable == everything.training.tokens - 2
    assert everything.labels_hash != found.labels_hash


def test_what_cannot_be_trained_on_is_told_with_its_line_and_a_fix(asked: Any) -> None:
    rows = (
        chat("fine", "yes"),
        chat("too long a question " * 20, "never reached"),
        chat("short", "a long answer " * 40),
        chat("special", "see <|im_end|> here"),
    )
    found = asked(*rows, max_length=64)
    told = {(one.line, one.code, one.warning) for one in found.findings}
    assert told == {(2, "no_trainable_tokens", False), (3, "row_cut", True), (4, "special_token", False)}
    assert all(one.message and one.fix for one in found.findings)
    assert found.found == {"no_trainable_tokens": 1, "row_cut": 1, "special_token": 1}
    assert {(one.line, one.pointer) for one in found.findings} == {
        *((2, "/messages"), (3, "/messages")),
        (4, "/messages/1/content"),
    }
    assert found.labels_hash is None
    raised = next(one for one in found.findings if one.line == 2)
    needed = int(raised.fix.split()[3].rstrip(","))
    assert asked(*rows[:2], max_length=needed).findings == ()


def test_findings_are_told_by_pages_and_all_are_counted(asked: Any) -> None:
    rows = [chat("q", "<|im_end|>")] * 150
    found = asked(*rows)
    assert (len(found.findings), found.found) == (100, {"special_token": 150})
    rest = asked(*rows, skipped=100, kept=1_000)
    assert [one.line for one in rest.findings] == list(range(101, 151))
    assert rest.found == found.found


def test_every_finding_of_a_row_is_told_at_its_place(asked: Any) -> None:
    twice = chat("<|im_start|> a <|im_end|>", "<|im_end|> so " * 40)
    prompt = json.dumps({"prompt": "q <|im_end|>", "completion": "<|im_start|>"})
    tool = {"type": "function", "function": {"name": "add", "description": "<|im_end|>"}}
    asking = {"messages": [{"role": "user", "content": "a <|im_end|>"}], "tools": [tool]}
    answers = {
        "preferred_output": [{"role": "assistant", "content": "<|im_start|>"}],
        "non_preferred_output": "b",
    }
    pair = json.dumps(
        {"prompt": "a", "chosen": "b " * 80, "rejected": [{"role": "assistant", "content": "<|im_end|>"}]}
    )
    text = json.dumps({"text": "so " * 80 + "<|im_end|>"})
    found = asked(twice, prompt, json.dumps({"input": asking, **answers}), pair, text, max_length=64, first=5)
    told: dict[int, list[tuple[str, str]]] = {}
    for one in found.findings:
        told.setdefault(one.line, []).append((one.code, one.pointer))
    special, lost = "special_token", "no place for `tools`"
    assert told == {
        1: [(special, "/messages/0/content")] * 2
        + [(special, "/messages/1/content"), ("row_cut", "/messages")],
        2: [(special, "/prompt"), (special, "/completion")],
        3: [
            *(
                (special, place)
                for place in ("/input/messages/0/content", "/preferred_output/0/content", "/input/tools")
            ),
            ("template_error", "/input/tools"),
        ],
        4: [("row_cut", "/chosen"), (special, "/rejected/0/content")],
        5: [(special, "/text"), ("row_cut", "/text")],
    }
    assert any(lost in one.message for one in found.findings)
    assert [len(row.findings) for row in found.shown] == [4, 2, 4, 2, 2]
    assert not any(row.sides for row in found.shown)
    assert found.training.rows == 0


def test_rows_are_shown_token_by_token(asked: Any) -> None:
    found = asked(chat("a", "b"), chat("1 + 1?", "zwei 🎉"), lines=(2,))
    [shown] = found.shown
    assert shown.line == 2
    [whole] = shown.sides
    assert "".join(token.text for token in whole.tokens).endswith("<|im_start|>assistant\nzwei 🎉<|im_end|>")
    assert "".join(token.text for token in whole.tokens if token.trained) == "zwei 🎉<|im_end|>"
    [row] = asked(chat("1 + 1?", "zwei 🎉"), first=1, max_length=len(whole.tokens) - 2).shown
    [cut] = row.sides
    assert cut.tokens == whole.tokens[:-2]
    assert (cut.cut, cut.cut_trainable) == (2, 2)
    assert cut.cut_text == "".join(token.text for token in whole.tokens[-2:])
    assert [one.code for one in row.findings] == ["row_cut"]
    [first, second] = asked(chat("a", "<|im_end|>"), chat("a", "b"), first=2).shown
    assert (first.sides, len(first.findings)) == ((), 1)
    assert (len(second.sides), second.findings) == (1, ())


def test_texts_pairs_and_packed_files_are_measured_as_well(asked: Any, tmp_path: Path) -> None:
    text = asked(json.dumps({"text": "one two three"}), first=1)
    assert text.training.trainable == text.training.tokens - 1
    assert "".join(token.text for token in text.shown[0].sides[0].tokens) == "one two three<|im_end|>"
    pair = asked(json.dumps({"prompt": "1 + 1?", "chosen": "2", "rejected": "many"}), first=1)
    assert (pair.training.rows, pair.training.trainable) == (1, 4)
    better, worse = (asked(chat("1 + 1?", answer)).training.tokens for answer in ("2", "many"))
    assert (pair.training.tokens, pair.training.longest) == (better + worse, max(better, worse))
    rows = "".join(chat("1 + 1?", str(number)) + "\n" for number in range(500)).encode()
    packed = gzip.compress(rows)
    file = tmp_path / "train.jsonl.gz"
    file.write_bytes(packed)
    assert asked(training_file=str(file)).training.rows == 500
    file.write_bytes(packed[:-200])  # the beginning of a large one
    beginning = asked(training_file=str(file), parts=("training_file",))
    assert (beginning.findings, beginning.complete, 0 < beginning.training.rows < 500) == ((), False, True)


def test_tools_that_the_models_template_would_lose_are_told(asked: Any) -> None:
    row = json.loads(chat("1 + 1?", "2")) | {"tools": [{"type": "function", "function": {"name": "add"}}]}
    [finding] = asked(json.dumps(row)).findings
    assert (finding.code, "no place for `tools`" in finding.message) == ("template_error", True)


def test_when_the_time_is_up_it_says_how_far_it_came(asked: Any) -> None:
    found = asked(*[chat("a", "b")] * 50, seconds=0.0, first=1)
    assert not found.complete
    assert found.labels_hash is None
    assert found.training.rows < 50
    assert len(found.shown) == 1  # worth a moment
    [said] = found.unseen
    assert "the training file was not looked at from line 2 on" in said
    [said] = asked(chat("a", "b"), parts=("training_file",)).unseen
    assert "too large: it was not looked at behind line 1" in said
    assert not asked(chat("a", "b"), parts=("training_file",)).complete


def test_it_runs_as_a_process_of_its_own_without_torch(folder: Path, tmp_path: Path) -> None:
    request = Request(
        model_dir=str(folder),
        training_file=written(tmp_path / "train.jsonl", chat("a", "b")),
        validation_file=written(tmp_path / "validation.jsonl", chat("c", "d"), chat("e", "f")),
        max_length=64,
        seconds=60.0,
    )
    run = (
        "import sys; from app.datasets.measure import main; main(); assert 'transformers' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", run], input=msgspec.json.encode(request), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=Measure)
    assert found == measure(request)
    assert found.validation is not None
    assert (found.training.rows, found.validation.rows) == (1, 2)
    broken = msgspec.structs.replace(request, model_dir=str(tmp_path))
    command = [sys.executable, "-m", "app.datasets.measure"]
    done = subprocess.run(command, input=msgspec.json.encode(broken), capture_output=True)
    assert done.returncode == 2
    assert b"cannot be read" in done.stderr


def test_a_pair_is_one_row_of_two_sides(asked: Any) -> None:
    prompt = [{"role": "user", "content": "1 + 1?"}]
    sides = [[{"role": "assistant", "content": text}] for text in ("2", "it is perhaps 3")]
    pair = json.dumps({"prompt": prompt, "chosen": sides[0], "rejected": sides[1]})
    found = asked(pair, first=1)
    assert (found.training.rows, found.training.lengths.smallest) == (1, found.training.longest - 4)
    [shown] = found.shown
    better, worse = ("".join(token.text for token in side.tokens if token.trained) for side in shown.sides)
    assert (better, worse) == ("2<|im_end|>", "it is perhaps 3<|im_end|>")
    assert found.labels_hash is not None
    cut = asked(pair, max_length=found.training.longest - 1, first=1)
    assert [(one.code, one.pointer) for one in cut.findings] == [("row_cut", "/rejected")]
    assert [(side.cut, side.cut_text) for side in cut.shown[0].sides] == [(0, ""), (1, "<|im_end|>")]
    none = asked(pair, max_length=20).findings
    assert [(one.code, one.pointer) for one in none] == [
        *(("no_trainable_tokens", "/chosen"), ("no_trainable_tokens", "/rejected")),
    ]


def test_a_text_is_trained_as_it_stands_and_ends(asked: Any) -> None:
    found = asked(json.dumps({"text": "Once upon a time 🎉"}), first=1)
    [shown] = found.shown
    [side] = shown.sides
    assert "".join(token.text for token in side.tokens) == "Once upon a time 🎉<|im_end|>"
    assert [token.trained for token in side.tokens] == [False] + [True] * (len(side.tokens) - 1)


def test_a_packed_file_is_read_as_the_same_unpacked(asked: Any, tmp_path: Path) -> None:
    rows = [chat(f"{number} + 1?", str(number + 1)) for number in range(500)]
    plain = asked(*rows)
    packed = tmp_path / "train.jsonl.gz"
    packed.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))
    assert asked(training_file=str(packed)) == plain
    packed.write_bytes(packed.read_bytes()[:2000])
    part = asked(training_file=str(packed), parts=("training_file",))
    assert 0 < part.training.rows < 500
    assert (part.complete, part.findings) == (False, ())
