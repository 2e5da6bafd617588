"""A tuning's files as a model reads them: tokens, what is cut, what cannot be trained on.

`python -m app.datasets.measure` reads a `Request` from stdin and prints a `Measure`. It is what the trainer
does before its first step, with the same tokens and labels, in memory that does not grow with the files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from app.datasets.faults import RowFault
from app.datasets.formats import Row, Text
from app.datasets.lines import Line, read_lines
from app.datasets.reading import Finding, Part, read_line
from app.datasets.sources import open_source
from app.datasets.statistics import Lengths, Spread
from app.datasets.tokenise import IGNORED, Tokens, labels_hash
from app.datasets.tokenizer import ModelTokenizer, TokenizerError

FINDINGS_KEPT = 100
NO_LIMIT = 2**31 - 1
LONGEST_CUT_SHOWN = 2_000

FILES: dict[Part, str] = {"training_file": "the training file", "validation_file": "the validation file"}


class Request(Struct, frozen=True, kw_only=True):
    """What to measure. `lines` of the training file are shown, or its `first` rows.

    Of the files in `parts` there is only the beginning. After `seconds` no further row is begun. Of the
    findings, `skipped` are counted only, then `kept` are told.
    """

    model_dir: str
    training_file: str
    validation_file: str | None = None
    parts: tuple[Part, ...] = ()
    max_length: int
    train_on: Literal["assistant", "all"] = "assistant"
    seconds: float
    lines: tuple[int, ...] = ()
    first: int = 0
    skipped: int = 0
    kept: int = FINDINGS_KEPT


class Totals(Struct, frozen=True):
    """Counts over the rows that were measured; `lengths` are those of whole rows, in tokens.

    A pair counts as a row of two sides, each of a length of its own.

    `tokens` are read and `trainable` of them learned; `cut` did not fit, `cut_trainable` of those would have
    been learned. `longest` is the longest row once it is cut.
    """

    rows: int
    tokens: int
    trainable: int
    cut: int
    cut_trainable: int
    rows_cut: int
    longest: int
    lengths: Lengths | None


class Token(Struct, frozen=True):
    """A token: its id, the text that it stands for, and whether it is learned."""

    id: int
    text: str
    trained: bool


class ShownSide(Struct, frozen=True):
    """A conversation or text as it is trained on; `cut` tokens at its end, which say `cut_text`, are not."""

    tokens: tuple[Token, ...]
    cut: int = 0
    cut_trainable: int = 0
    cut_text: str = ""


class Shown(Struct, frozen=True):
    """A row as it is trained on, and all that was found in it: a pair has a better side and a worse one.

    It has none when it cannot be read.
    """

    line: int
    sides: tuple[ShownSide, ...]
    findings: tuple[Finding, ...]


class Measure(Struct, frozen=True, kw_only=True):
    """What was found. `findings` are those asked for, `found` counts all of them by code.

    `unseen` says in sentences what was not looked at, and is empty when everything was. `labels_hash` is
    there when every row was measured and can be trained on; of a pair it takes the better side, then the
    worse one.
    """

    training: Totals
    validation: Totals | None
    unseen: tuple[str, ...]
    labels_hash: str | None
    findings: tuple[Finding, ...]
    found: dict[str, int]
    shown: tuple[Shown, ...]

    @property
    def complete(self) -> bool:
        """Whether every row was measured."""
        return not self.unseen


def measure(request: Request) -> Measure:
    """Measure what a request names. Raises `OSError`, `TokenizerError`."""
    measuring = _Measuring(request, ModelTokenizer(Path(request.model_dir)))
    hashed = labels_hash(measuring.rows())
    usable = not measuring.unseen and not measuring.faults
    return Measure(
        training=measuring.counts["training_file"].totals(),
        validation=measuring.counts["validation_file"].totals() if request.validation_file else None,
        unseen=tuple(measuring.unseen),
        labels_hash=hashed if usable else None,
        findings=tuple(measuring.findings),
        found=measuring.found,
        shown=tuple(measuring.shown),
    )


class _Counts:
    """Counts of one file's rows."""

    def __init__(self) -> None:
        self._cut = self._cut_trainable = self._trainable = self._tokens = self._rows_cut = 0
        self._longest = self._rows = 0
        self._whole = Spread()

    def add(self, sides: Sequence[Tokens]) -> None:
        self._rows += 1
        self._rows_cut += any(side.cut for side in sides)
        for side in sides:
            self._tokens += len(side.input_ids)
            self._trainable += side.trainable
            self._cut += side.cut
            self._cut_trainable += side.cut_trainable
            self._longest = max(self._longest, len(side.input_ids))
            self._whole.add(len(side.input_ids) + side.cut)

    def totals(self) -> Totals:
        return Totals(
            rows=self._rows,
            tokens=self._tokens,
            trainable=self._trainable,
            cut=self._cut,
            cut_trainable=self._cut_trainable,
            rows_cut=self._rows_cut,
            longest=self._longest,
            lengths=self._whole.lengths(),
        )


class _Measuring:
    """A measurement under way."""

    def __init__(self, request: Request, tokenizer: ModelTokenizer) -> None:
        self._request, self._tokenizer = request, tokenizer
        self._until = time.monotonic() + request.seconds
        self.counts: dict[Part, _Counts] = {"training_file": _Counts(), "validation_file": _Counts()}
        self.unseen: list[str] = []
        self.faults = self._count = 0
        self.findings: list[Finding] = []
        self.found: dict[str, int] = {}
        self.shown: list[Shown] = []

    def rows(self) -> Iterator[Tokens]:
        """Every row of both files, the training file's first, until the time is up."""
        files: list[tuple[Part, str | None]] = [
            ("training_file", self._request.training_file),
            ("validation_file", self._request.validation_file),
        ]
        for part, path in files:
            if path is None:
                continue
            last = 0
            with open_source(Path(path)) as source:
                for line in read_lines(source):
                    if time.monotonic() > self._until and not self._still_to_show(part):
                        self.unseen.append(
                            f"the time of a request was up after {self._request.seconds:g} s: {FILES[part]} "
                            f"was not looked at from line {line.number} on"
                        )
                        break
                    last = line.number
                    if sides := self._row(part, line):
                        self.counts[part].add(sides)
                        yield from sides
                else:
                    if part in self._request.parts:
                        said = f"{FILES[part]} is too large: it was not looked at behind line {last}"
                        self.unseen.append(said)

    def _still_to_show(self, part: Part) -> bool:
        """Whether no row was shown yet; the first ones are worth a little more time."""
        return part == "training_file" and self._request.first > len(self.shown)

    def _row(self, part: Part, line: Line) -> Sequence[Tokens]:
        """The tokens of a line's row, a pair's of both sides; what is wrong with it is kept."""
        if line.fault is not None and (line.fault.warning or self._broken_off(part, line.fault)):
            return ()
        asked = self._request
        found = read_line(part, line, self._tokenizer, asked.max_length, asked.train_on)
        for finding in found.findings:
            self.faults += not finding.warning
            self.found[finding.code] = self.found.get(finding.code, 0) + 1
            if asked.skipped <= self._count < asked.skipped + asked.kept:
                self.findings.append(finding)
            self._count += 1
        wanted = line.number in asked.lines if asked.lines else len(self.shown) < asked.first
        if part == "training_file" and wanted:
            sides = tuple(self._shown(*side) for side in zip(found.rows, found.tokens, strict=False))
            self.shown.append(Shown(line.number, sides, tuple(found.findings)))
        return found.tokens

    def _broken_off(self, part: Part, fault: RowFault) -> bool:
        """Whether a packed file only ends here because no more of it was copied."""
        return part in self._request.parts and fault.code == "gzip_truncated"

    def _shown(self, row: Row | Text, side: Tokens) -> ShownSide:
        pieces, kept = self._pieces(row), len(side.labels)
        tokens = (
            Token(id, text, label != IGNORED)
            for (id, text), label in zip(pieces[:kept], side.labels, strict=True)
        )
        cut = "".join(text for _, text in pieces[kept : kept + side.cut])[:LONGEST_CUT_SHOWN]
        return ShownSide(tuple(tokens), side.cut, side.cut_trainable, cut)

    def _pieces(self, row: Row | Text) -> list[tuple[int, str]]:
        """Every token of a row with its text, the one that ends a plain text too."""
        if isinstance(row, Row):
            answers = [at for at, message in enumerate(row.messages) if message["role"] == "assistant"]
            return self._tokenizer.pieces(row.messages[: answers[-1] + 1], row.tools)
        pieces, end = self._tokenizer.text_pieces(row.text), self._tokenizer.eos_token_id
        if end is not None and (not pieces or pieces[-1][0] != end):
            pieces.append((end, self._tokenizer.eos_token))
        return pieces


def main() -> int:
    """Measure and print; 2 when the model's folder cannot be used, with a sentence on stderr."""
    try:
        found = measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Request))
    except TokenizerError as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
