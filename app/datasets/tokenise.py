"""Rows as tokens and labels: only what the assistant says, and the token that ends it, is trained."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from app.datasets.rows import Row

IGNORED = -100


class Tokens(Struct, frozen=True):
    """One row: `labels` is -100 wherever a token of `input_ids` is not trained; `cut` tokens did not fit."""

    input_ids: list[int]
    labels: list[int]
    cut: int

    @property
    def trainable(self) -> int:
        """How many tokens are trained."""
        return sum(label != IGNORED for label in self.labels)


class TemplateError(Exception):
    """The model's chat template does not build a conversation up turn by turn."""


def tokenise(row: Row, tokenizer: Any, max_length: int) -> Tokens:
    """A row by the tokenizer's chat template, at most `max_length` tokens. Raises `TemplateError`."""
    messages = list(row.messages)
    input_ids: list[int] = []
    labels: list[int] = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _ids(tokenizer, messages[:number], prompt=True)
        after = _ids(tokenizer, messages[: number + 1], prompt=False)
        if after[: len(before)] != before or before[: len(input_ids)] != input_ids:
            raise TemplateError("the model's chat template changes earlier turns when a later one is added")
        answer = after[len(before) :]
        # The template may write on behind the end-of-turn token; that is not the assistant's to learn.
        ends = [place for place, token in enumerate(answer) if token == tokenizer.eos_token_id]
        trained = ends[-1] + 1 if ends else len(answer)
        labels += [IGNORED] * (len(before) - len(input_ids))
        labels += answer[:trained] + [IGNORED] * (len(answer) - trained)
        input_ids = after
    cut = max(0, len(input_ids) - max_length)
    return Tokens(input_ids[:max_length], labels[:max_length], cut)


def _ids(tokenizer: Any, messages: list[dict[str, str]], *, prompt: bool) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=prompt, return_dict=False
    )
    return ids


def labels_hash(rows: Iterable[Tokens]) -> str:
    """SHA-256 over every row's tokens and labels, as 32-bit integers: the same hash, the same training."""
    digest = hashlib.sha256()
    for row in rows:
        for numbers in (row.input_ids, row.labels):
            digest.update(len(numbers).to_bytes(4, "little"))
            digest.update(array("i", numbers).tobytes())
    return digest.hexdigest()
