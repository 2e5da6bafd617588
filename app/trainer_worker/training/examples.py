"""What each training row costs the model before training and after it: the worst are the first to look at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import torch
from msgspec import Struct

from app.datasets.tokenise import IGNORED
from app.trainer_worker.training.plan import Plan
from app.trainer_worker.training.rows import Row
from app.trainer_worker.training.trainer import RowTrainer, collate
from app.trainer_worker.training.weights import Weights, as_it_was

SHARE = 0.1  # of the tokens that training reads: two passes without a gradient take a twentieth of its time
LEAST = 1024
SECONDS = 60.0  # at most, since no step is taken meanwhile: the stall limit is ten times that
WINDOW = 64  # rows that are looked at in the order of their length, for little padding


class Example(Struct, frozen=True):
    """A row by its 1-based line: tokens, those trained on, and the mean loss of these, or that of a pair."""

    line: int
    tokens: int
    trained_tokens: int
    loss_before: float
    loss_after: float


class Looked(Struct, frozen=True):
    """How many of the training rows were looked at."""

    looked_at: int
    rows: int


def write_examples(
    plan: Plan, path: Path, trainer: RowTrainer, rows: Sequence[Row], before: Weights, pad: int
) -> Looked:
    """Write each row that is looked at, the worst after training first; none wanted, none written."""
    chosen = chosen_rows(rows, plan.examples, trainer.read_tokens, plan.seed)
    examples = _losses(trainer, chosen, before, pad, plan.rows_at_a_time)
    if examples:
        worst_first = sorted(examples, key=lambda one: (-one.loss_after, one.line))
        path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in worst_first))
    return Looked(len(examples), len(rows))


def chosen_rows(rows: Sequence[Row], most: int | None, read_tokens: int, seed: int) -> list[Row]:
    """The rows to look at, drawn by the seed: at most so many, or as many as are little beside training."""
    drawn = Random(seed).sample(rows, len(rows))
    if most is not None:
        return drawn[:most]
    room = max(LEAST, SHARE * read_tokens)
    within: list[Row] = []
    for row in drawn:
        room -= _tokens(row)
        if room < 0 and within:
            break
        within.append(row)
    return within


def _losses(
    trainer: RowTrainer, rows: Sequence[Row], before: Weights, pad: int, at_a_time: int
) -> list[Example]:
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    device = trainer.args.device
    after = {name: one.data for name, one in model.named_parameters() if one.requires_grad}
    before = {name: one.to(device) for name, one in before.items()}
    collated = collate(pad)
    examples: list[Example] = []
    until = time.monotonic() + SECONDS
    for some in _batches(rows, at_a_time):
        if time.monotonic() > until:
            break
        # Of pairs all the better sides, then all the worse ones; others have one side only.
        sides = [row.sides[side] for side in range(len(some[0].sides)) for row in some]
        batch = collated([{"input_ids": one.input_ids, "labels": one.labels} for one in sides])
        batch = {name: one.to(device) for name, one in batch.items()}
        losses = []
        with torch.no_grad(), trainer.compute_loss_context_manager():
            for weights in (before, after):
                with as_it_was(model, weights):
                    losses.append(trainer.row_losses(model, batch).tolist())
        for row, first, last in zip(some, *losses, strict=True):
            trained = _trained(row)
            each = 1 if len(row.sides) > 1 else trained
            examples.append(Example(row.line, _tokens(row), trained, first / each, last / each))
    return examples


def _batches(rows: Sequence[Row], at_a_time: int) -> Iterator[list[Row]]:
    for begin in range(0, len(rows), WINDOW):
        window = sorted(rows[begin : begin + WINDOW], key=_tokens)
        for at in range(0, len(window), at_a_time):
            yield window[at : at + at_a_time]


def _tokens(row: Row) -> int:
    return sum(len(side.input_ids) for side in row.sides)


def _trained(row: Row) -> int:
    """Tokens with a label; a row's first is foretold by nothing."""
    return sum(label != IGNORED for side in row.sides for label in side.labels[1:])
