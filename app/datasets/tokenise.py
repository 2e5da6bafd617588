"""Rows as tokens and labels: what the assistant says, and the token that ends it, is trained; or all."""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import jinja2
import msgspec
from msgspec import Struct

from app.datasets.formats import Row, Text

IGNORED = -100


class Tokenizer(Protocol):
    """As much of a transformers tokenizer as is needed here."""

    eos_token_id: Any
    all_special_tokens: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Any: ...


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
    row: Row | Text,
    tokenizer: Tokenizer,
    max_length: int,
    train_on: Literal["assistant", "all"] = "assistant",
) -> Tokens:
    """A row by the tokenizer's chat template, or a text as it is; its first `max_length` tokens.

    Conversations are built up turn by turn: what the template writes from the prompt for an answer to that
    answer's end-of-turn token is the answer. Raises `TemplateError`, `SpecialTokenInText`.
    """
    if isinstance(row, Text):
        return _text_tokens(row, tokenizer, max_length)
    messages, tools = list(row.messages), list(row.tools)
    _refuse_special_tokens(row, tokenizer)
    if tools or any("tool_calls" in message for message in messages):
        _refuse_lost_tools(messages, tools, tokenizer)
    input_ids: list[int] = []
    labels: list[int] = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _ids(tokenizer, messages[:number], tools, prompt=True)
        after = _ids(tokenizer, messages[: number + 1], tools, prompt=False)
        if after[: len(before)] != before or before[: len(input_ids)] != input_ids:
            raise TemplateError("the model's chat template changes earlier turns when a later one is added")
        answer = after[len(before) :]
        if tokenizer.eos_token_id not in answer:
            raise TemplateError("the model's chat template does not end an answer with the end-of-turn token")
        # The template may write on behind the end-of-turn token; that is not the assistant's to learn.
        trained = len(answer) - answer[::-1].index(tokenizer.eos_token_id)
        if number in row.untrained:
            trained = 0
        labels += [IGNORED] * (len(before) - len(input_ids))
        labels += answer[:trained] + [IGNORED] * (len(answer) - trained)
        input_ids = after
    if train_on == "all":
        labels = [IGNORED, *input_ids[1:]]  # nothing predicts the first
    end = len(labels)
    while end and labels[end - 1] == IGNORED:  # nothing is learned from what stands behind the last answer
        end -= 1
    return _cut(input_ids[:end], labels[:end], max_length)


def _text_tokens(row: Text, tokenizer: Tokenizer, max_length: int) -> Tokens:
    """Every token of a text, and the one that ends it; the first is only read, for nothing foretells it."""
    for token in tokenizer.all_special_tokens:
        if token in row.text:
            raise SpecialTokenInText(f"/text holds {token}, which the model reads as a special token")
    input_ids = list(tokenizer.encode(row.text, add_special_tokens=True))
    if input_ids[-1:] != [tokenizer.eos_token_id]:
        input_ids.append(tokenizer.eos_token_id)
    return _cut(input_ids, [IGNORED, *input_ids[1:]], max_length)


def _cut(input_ids: list[int], labels: list[int], max_length: int) -> Tokens:
    kept = min(len(labels), max_length)
    return Tokens(input_ids[:kept], labels[:kept], len(labels) - kept, _trained(labels[kept:]))


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


def _refuse_special_tokens(row: Row, tokenizer: Tokenizer) -> None:
    for number, message in enumerate(row.messages):
        called = msgspec.json.encode(message["tool_calls"]).decode() if "tool_calls" in message else ""
        for token in tokenizer.all_special_tokens:
            for name, text in (("content", message["content"]), ("tool_calls", called)):
                if token in text:
                    raise SpecialTokenInText(
                        f"/messages/{number}/{name} holds {token}, which the model reads as a special token"
                    )
    declared = msgspec.json.encode(row.tools).decode() if row.tools else ""
    for token in tokenizer.all_special_tokens:
        if token in declared:
            raise SpecialTokenInText(f"/tools holds {token}, which the model reads as a special token")


def _refuse_lost_tools(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]], tokenizer: Tokenizer
) -> None:
    """A template that leaves tools out, without a word, would train on half of the row."""
    whole = _ids(tokenizer, messages, tools, prompt=False)
    if tools and whole == _ids(tokenizer, messages, [], prompt=False):
        raise TemplateError("the model's chat template has no place for `tools`")
    silent = [{key: message[key] for key in message if key != "tool_calls"} for message in messages]
    if silent != messages and whole == _ids(tokenizer, silent, tools, prompt=False):
        raise TemplateError("the model's chat template has no place for `tool_calls`")


def _ids(
    tokenizer: Tokenizer, messages: list[dict[str, Any]], tools: list[dict[str, Any]], *, prompt: bool
) -> list[int]:
    given = {"tools": tools} if tools else {}
    try:
        ids: list[int] = tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=prompt, return_dict=False, **given
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise TemplateError(f"the model's chat template refuses the row: {error}") from error
    return ids
