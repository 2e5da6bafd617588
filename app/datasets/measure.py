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
from app.datasets.formats import Pair, Row, Text, read_row
from app.datasets.lines import Line, read_lines
from app.datasets.sources import open_source
from app.datasets.statistics import Lengths, Spread
from app.datasets.tokenise import (
    IGNORED,
    SpecialTokenInText,
    TemplateError,
    Tokens,
    labels_hash,
    tokenise,
)
from app.datasets.tokenizer import ModelTokenizer, TokenizerError

FINDINGS_KEPT = 100
NO_LIMIT = 2**31 - 1
LONGEST_CUT_SHOWN = 2_000

Part = Literal["training_file", "validation_file"]


class Request(Struct, frozen=True, kw_only=True):
    """What to measure. `lines` of the training file are shown, or its `first` rows.

    A file may be only the beginning of the one that is meant; then `whole` is false. After `seconds` no
    further row is begun.
    """

    model_dir: str
    training_file: str
    validation_file: str | None = None
    whole: bool = True
    max_length: int
    train_on: Literal["assistant", "all"] = "assistant"
    seconds: float
    lines: tuple[int, ...] = ()
    first: int = 0


class Finding(Struct, frozen=True):
    """What is wrong with a row for this model, at its 1-based line. A warning stops nothing."""

    param: Part
    line: int
    code: str
    message: str
    fix: str
    warning: bool = False


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


class Shown(Struct, frozen=True):
    """A row as it is trained on. `cut` tokens at its end are left out; they say `cut_text`.

    Of a pair, `tokens` and what is cut are the better side's, `rejected` is the worse one.
    """

    line: int
    tokens: tuple[Token, ...]
    rejected: tuple[Token, ...] | None = None
    cut: int = 0
    cut_trainable: int = 0
    cut_text: str = ""
    fault: str | None = None


class Measure(Struct, frozen=True, kw_only=True):
    """What was found. `findings` are the first hundred, `found` counts all of them by code.

    `labels_hash` is there when every row was measured and can be trained on; of a pair it takes the better
    side, then the worse one.
    """

    training: Totals
    validation: Totals | None
    complete: bool
    labels_hash: str | None
    findings: tuple[Finding, ...]
    found: dict[str, int]
    shown: tuple[Shown, ...]


def measure(request: Request) -> Measure:
    """Measure what a request names. Raises `OSError`, `TokenizerError`."""
    measuring = _Measuring(request, ModelTokenizer(Path(request.model_dir)))
    hashed = labels_hash(measuring.rows())
    usable = measuring.complete and not measuring.faults
    return Measure(
        training=measuring.counts["training_file"].totals(),
        validation=measuring.counts["validation_file"].totals() if request.validation_file else None,
        complete=measuring.complete,
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
        self.complete = request.whole
        self.faults = 0
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
            with open_source(Path(path)) as source:
                for line in read_lines(source):
                    if time.monotonic() > self._until and not self._still_to_show(part):
                        self.complete = False
                        break
                    if sides := self._row(part, line):
                        self.counts[part].add(sides)
                        yield from sides

    def _still_to_show(self, part: Part) -> bool:
        """Whether no row was shown yet; the first ones are worth a little more time."""
        return part == "training_file" and self._request.first > len(self.shown)

    def _row(self, part: Part, line: Line) -> Sequence[Tokens]:
        """The tokens of a line's row, a pair's of both sides; what is wrong with it is kept."""
        if line.fault is not None and (line.fault.warning or self._broken_off(line.fault)):
            return ()
        row, _, faults = read_row(line.value) if line.fault is None else (None, None, [line.fault])
        if row is None:
            fault = next(fault for fault in faults if not fault.warning)
            self._find(Finding(part, line.number, fault.code, fault.message, fault.fix))
            self._show(part, line, fault=fault.message)
            return ()
        limit = self._request.max_length
        both = row.sides() if isinstance(row, Pair) else (row,)
        try:
            sides = [tokenise(side, self._tokenizer, limit, self._request.train_on) for side in both]
        except TemplateError as error:
            fix = "put the messages into the order that the model's template wants, or leave the row out"
            self._find(Finding(part, line.number, "template_error", str(error), fix))
            self._show(part, line, fault=str(error))
            return ()
        except SpecialTokenInText as error:
            fix = "remove it from the text, or write it in another way"
            self._find(Finding(part, line.number, "special_token", str(error), fix))
            self._show(part, line, fault=str(error))
            return ()
        whole = max(len(side.input_ids) + side.cut for side in sides)
        if any(side.trainable == 0 for side in sides):
            message = f"nothing is left to train on once the row is cut to max_length {limit}"
            fix = f"raise max_length to {whole}, or shorten or remove the row"
            self._find(Finding(part, line.number, "no_trainable_tokens", message, fix))
        elif (cut := sum(side.cut for side in sides)) > 0:
            learned = sum(side.cut_trainable for side in sides)
            message = (
                f"{cut} of {sum(len(side.input_ids) + side.cut for side in sides)} tokens are cut at "
                f"max_length {limit}, {learned} of them to be learned"
            )
            fix = f"raise max_length to {whole}, or shorten the row"
            self._find(Finding(part, line.number, "row_cut", message, fix, warning=True))
        self._show(part, line, both, sides)
        return sides

    def _broken_off(self, fault: RowFault) -> bool:
        """Whether a packed file only ends here because no more of it was copied."""
        return not self._request.whole and fault.code == "gzip_truncated"

    def _find(self, finding: Finding) -> None:
        self.faults += not finding.warning
        self.found[finding.code] = self.found.get(finding.code, 0) + 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(finding)

    def _show(
        self,
        part: Part,
        line: Line,
        rows: Sequence[Row | Text] = (),
        sides: Sequence[Tokens] = (),
        fault: str | None = None,
    ) -> None:
        asked = self._request
        wanted = line.number in asked.lines if asked.lines else len(self.shown) < asked.first
        if part != "training_file" or not wanted:
            return
        if not sides:
            self.shown.append(Shown(line.number, (), fault=fault))
            return
        pieces = [self._pieces(row) for row in rows]
        told = [
            tuple(
                Token(id, text, label != IGNORED)
                for (id, text), label in zip(each[: len(side.labels)], side.labels, strict=True)
            )
            for each, side in zip(pieces, sides, strict=True)
        ]
        first, kept = sides[0], len(sides[0].labels)
        cut = "".join(text for _, text in pieces[0][kept : kept + first.cut])[:LONGEST_CUT_SHOWN]
        rejected = told[1] if len(told) > 1 else None
        self.shown.append(Shown(line.number, told[0], rejected, first.cut, first.cut_trainable, cut))

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
