"""A line as a model reads it: the tokens of its row, a pair's of both sides, and everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from app.datasets.formats import Pair, Row, Text, read_row
from app.datasets.lines import Line
from app.datasets.places import Side, sides_at
from app.datasets.tokenise import TemplateError, Tokenizer, Tokens, special_tokens, tokens_of
from app.domain.hyperparameters import TrainOn

LONGEST_SAID = 500

Part = Literal["training_file", "validation_file"]


class Finding(Struct, frozen=True):
    """What is wrong with a row for this model, at its 1-based line and there at `pointer`.

    A warning stops nothing.
    """

    param: Part
    line: int
    code: str
    message: str
    fix: str
    warning: bool = False
    pointer: str = ""


class Found(Struct, frozen=True):
    """What there is on a line: its conversations or text, their tokens, and what is wrong.

    There are no `tokens` when a side cannot be read.
    """

    rows: Sequence[Row | Text] = ()
    tokens: Sequence[Tokens] = ()
    findings: Sequence[Finding] = ()


def read_line(part: Part, line: Line, tokenizer: Tokenizer, max_length: int, train_on: TrainOn) -> Found:
    """The row on a line that has one, read by the model's tokenizer."""
    faults = [line.fault, *line.others] if line.fault is not None else []
    row, form, more = read_row(line.value) if line.is_row else (None, None, [])
    found = [
        Finding(part, line.number, fault.code, fault.message, fault.fix, pointer=fault.pointer)
        for fault in (*faults, *more)
        if not fault.warning
    ]
    if row is None or found:
        return Found(findings=found)
    rows = row.sides() if isinstance(row, Pair) else (row,)
    tokens: list[Tokens] = []
    readable = True
    for each, at in zip(rows, sides_at(line.value, form), strict=True):
        odd = list(_special_tokens(part, line, each, at, tokenizer))
        readable = readable and not odd
        try:
            tokens.append(tokens_of(each, tokenizer, max_length, train_on))
            odd += _behind(part, line, tokens[-1], at, max_length)
        except TemplateError as error:
            readable = False
            fix = "put the messages into the order that the model's template wants, or leave the row out"
            said, pointer = str(error)[:LONGEST_SAID], at.pointer(error.place)
            odd.append(Finding(part, line.number, "template_error", said, fix, pointer=pointer))
        # What two sides have in common is told once.
        found += [finding for finding in odd if finding not in found]
    return Found(rows, tokens if readable else (), found)


def _special_tokens(
    part: Part, line: Line, row: Row | Text, at: Side, tokenizer: Tokenizer
) -> Iterator[Finding]:
    for place, token in special_tokens(row, tokenizer):
        said = f"the text holds {token}, which the model reads as a special token"
        fix = "remove it from the text, or write it in another way"
        yield Finding(part, line.number, "special_token", said, fix, pointer=at.pointer(place))


def _behind(part: Part, line: Line, side: Tokens, at: Side, max_length: int) -> Iterator[Finding]:
    """What is lost of a side behind `max_length`."""
    whole = len(side.input_ids) + side.cut
    if side.trainable == 0:
        said = f"nothing is left to train on once the row is cut to max_length {max_length}"
        fix = f"raise max_length to {whole}, or shorten or remove the row"
        yield Finding(part, line.number, "no_trainable_tokens", said, fix, pointer=at.whole)
    elif side.cut:
        said = (
            f"{side.cut} of {whole} tokens are cut at max_length {max_length}, "
            f"{side.cut_trainable} of them to be learned"
        )
        fix = f"raise max_length to {whole}, or shorten the row"
        yield Finding(part, line.number, "row_cut", said, fix, warning=True, pointer=at.whole)
