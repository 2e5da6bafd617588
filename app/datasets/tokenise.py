"""Rows as tokens and labels: what the assistant says, and the token that ends it, is trained; or all."""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from app.datasets.formats import Row

IGNORED = -100


class Tokenizer(Protocol):
    """As much of a transformers tokenizer as is needed here."""

    eos_token_id: Any
    all_special_tokens: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...


class Tokens(Struct, frozen=True):
    """One row: `labels` is -100 wherever a token of `input_ids` is not trained.

    `cut` tokens did not fit, `cut_trainable` of them would have been trained.
    """

    input_ids: list[int]
    labels: list[int]
    cut: int
    cut_trainable: int

    @property
    def trainable(self) -> int:
        """How many tokens are trained."""
        return _trained(self.labels)


class TemplateError(Exception):
    """The model's chat template cannot say which tokens of this conversation are the assistant's."""


class SpecialTokenInText(Exception):
    """A message holds the text of one of the model's special tokens and would be read as that token."""


def tokenise(
    row: Row, tokenizer: Tokenizer, max_length: int, train_on: Literal["assistant", "all"] = "assistant"
) -> Tokens:
    """A row by the tokenizer's chat template, its first `max_length` tokens.

    Conversations are built up turn by turn: what the template writes from the prompt for an answer to that
    answer's end-of-turn token is the answer. Raises `TemplateError`, `SpecialTokenInText`.
    """
    messages = list(row.messages)
    _refuse_special_tokens(messages, tokenizer)
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
        if tokenizer.eos_token_id not in answer:
            raise TemplateError("the model's chat template does not end an answer with the end-of-turn token")
        # The template may write on behind the end-of-turn token; that is not the assistant's to learn.
        trained = len(answer) - answer[::-1].index(tokenizer.eos_token_id)
        labels += [IGNORED] * (len(before) - len(input_ids))
        labels += answer[:trained] + [IGNORED] * (len(answer) - trained)
        input_ids = after
    if train_on == "all":
        labels = [IGNORED, *input_ids[1:]]  # nothing predicts the first
    end = len(labels)
    while end and labels[end - 1] == IGNORED:  # nothing is learned from what stands behind the last answer
        end -= 1
    kept = min(end, max_length)
    return Tokens(input_ids[:kept], labels[:kept], end - kept, _trained(labels[kept:end]))


def labels_hash(rows: Iterable[Tokens]) -> str:
    """SHA-256 over every row's tokens and labels, as 32-bit little-endian: same hash, same training."""
    digest = hashlib.sha256()
    for row in rows:
        for numbers in (row.input_ids, row.labels):
            packed = array("i", numbers)
            if sys.byteorder == "big":
                packed.byteswap()
            digest.update(len(numbers).to_bytes(4, "little"))
            digest.update(packed.tobytes())
    return digest.hexdigest()


def _trained(labels: Sequence[int]) -> int:
    return sum(label != IGNORED for label in labels)


def _refuse_special_tokens(messages: Sequence[dict[str, str]], tokenizer: Tokenizer) -> None:
    for number, message in enumerate(messages):
        for token in tokenizer.all_special_tokens:
            if token in message["content"]:
                raise SpecialTokenInText(
                    f"/messages/{number}/content holds {token}, which the model reads as a special token"
                )


def _ids(tokenizer: Tokenizer, messages: list[dict[str, str]], *, prompt: bool) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=prompt, return_dict=False
    )
    return ids
