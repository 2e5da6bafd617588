"""A file's rows, ready to be trained on: read, checked once more, tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset
from msgspec import Struct

from app.datasets.formats import Pair, fits, read_row
from app.datasets.lines import read_lines
from app.datasets.sources import open_source
from app.datasets.tokenise import IGNORED, SpecialTokenInText, TemplateError, Tokenizer, Tokens, tokenise
from app.domain.hyperparameters import TrainOn
from app.domain.tunings import Method
from app.trainer_worker.training.failures import BadRow, bad_rows, no_rows, nothing_to_train

Sides = tuple[Tokens, ...]  # a pair has two, the better one first; every other row is its only one


class Row(Struct, frozen=True):
    """A row of a file as tokens, and its 1-based line."""

    line: int
    sides: Sides


def read_rows(
    path: Path, tokenizer: Tokenizer, max_length: int, train_on: TrainOn, method: Method, param: str
) -> list[Row]:
    """Every row of a file as tokens. Raises `TrainingFault` naming all lines that cannot be trained on."""
    rows: list[Row] = []
    bad: list[BadRow] = []
    empty: list[int] = []
    with open_source(path) as source:
        for line in read_lines(source):
            if line.fault is not None:
                if not line.fault.warning:
                    bad.append(BadRow(line.number, line.fault.message))
                continue
            row, form, faults = read_row(line.value)
            if row is None:
                reasons = [fault.message for fault in faults if not fault.warning]
                bad.append(BadRow(line.number, reasons[0]))
                continue
            if not fits(form, method):
                bad.append(
                    BadRow(line.number, f"the method {method} does not train on rows of format {form}")
                )
                continue
            both = row.sides() if isinstance(row, Pair) else (row,)
            try:
                sides = tuple(tokenise(side, tokenizer, max_length, train_on) for side in both)
            except (TemplateError, SpecialTokenInText) as error:
                bad.append(BadRow(line.number, str(error)))
                continue
            if any(side.trainable == 0 for side in sides):
                empty.append(line.number)
            rows.append(Row(line.number, sides))
    if bad:
        raise bad_rows(bad, param)
    if empty:
        raise nothing_to_train(empty, param, max_length)
    if not rows:
        raise no_rows(param)
    return rows


def as_dataset(rows: Sequence[Tokens]) -> Any:
    """Rows as TRL takes them ready-made."""
    return Dataset.from_dict(
        {"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]}
    )


def as_pairs(pairs: Sequence[Sides]) -> Any:
    """Pairs with their sides beside each other."""
    return Dataset.from_dict(
        {
            "input_ids": [better.input_ids for better, _ in pairs],
            "labels": [better.labels for better, _ in pairs],
            "rejected_ids": [worse.input_ids for _, worse in pairs],
            "rejected_labels": [worse.labels for _, worse in pairs],
        }
    )


def as_packed_dataset(sequences: Sequence[Sequence[Tokens]]) -> Any:
    """Sequences of several rows. Positions begin anew with each row, by which attention keeps them apart.

    A row's first token is foretold by nothing, and so not by the row before it.
    """
    return Dataset.from_dict(
        {
            "input_ids": [list(chain.from_iterable(row.input_ids for row in rows)) for rows in sequences],
            "labels": [
                list(chain.from_iterable([IGNORED, *row.labels[1:]] for row in rows)) for rows in sequences
            ],
            "position_ids": [
                list(chain.from_iterable(range(len(row.input_ids)) for row in rows)) for rows in sequences
            ],
        }
    )
