"""Rows as tokens and labels: what the assistant says, and the token that ends it, is trained; or all."""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
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


class Place(Struct, frozen=True):
    """A field of a row's message, by its number; without one, `tools`, `text`, or all of the `messages`."""

    field: str
    message: int | None = None

    def __str__(self) -> str:
        return f"/{self.field}" if self.message is None else f"/messages/{self.message}/{self.field}"


MESSAGES, TOOLS, TEXT = Place("messages"), Place("tools"), Place("text")


class TemplateError(Exception):
    """The model's chat template cannot say which tokens of this conversation are the assistant's."""

    def __init__(self, message: str, place: Place = MESSAGES) -> None:
        super().__init__(message)
        self.place = place


class SpecialTokenInText(Exception):
    """A message holds the text of one of the model's special tokens and would be read as that token."""

    def __init__(self, place: Place, token: str) -> None:
        super().__init__(f"{place} holds {token}, which the model reads as a special token")


def tokenise(
    row: Row | Text,
    tokenizer: Tokenizer,
    max_length: int,
    train_on: Literal["assistant", "all"] = "assistant",
) -> Tokens:
    """The tokens of a row that has no special tokens in its texts. Raises what `tokens_of` does.

    Raises `SpecialTokenInText` as well.
    """
    for place, token in special_tokens(row, tokenizer):
        raise SpecialTokenInText(place, token)
    return tokens_of(row, tokenizer, max_length, train_on)


def tokens_of(
    row: Row | Text,
    tokenizer: Tokenizer,
    max_length: int,
    train_on: Literal["assistant", "all"] = "assistant",
) -> Tokens:
    """A row by the tokenizer's chat template, or a text as it is; its first `max_length` tokens.

    Conversations are built up turn by turn: what the template writes from the prompt for an answer to that
    answer's end-of-turn token is the answer. Raises `TemplateError`.
    """
    if isinstance(row, Text):
        return _text_tokens(row, tokenizer, max_length)
    messages, tools = list(row.messages), list(row.tools)
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
            said = "the model's chat template changes earlier turns when a later one is added"
            raise TemplateError(said, Place("content", number))
        answer = after[len(before) :]
        if tokenizer.eos_token_id not in answer:
            said = "the model's chat template does not end an answer with the end-of-turn token"
            raise TemplateError(said, Place("content", number))
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


def special_tokens(row: Row | Text, tokenizer: Tokenizer) -> Iterator[tuple[Place, str]]:
    """Every place whose text holds a special token, and which: it would be read as that token."""
    for place, text in _texts(row):
        for token in tokenizer.all_special_tokens:
            if token in text:
                yield place, token


def _texts(row: Row | Text) -> Iterator[tuple[Place, str]]:
    """Everything of a row that the model reads, by its place."""
    if isinstance(row, Text):
        yield TEXT, row.text
        return
    for number, message in enumerate(row.messages):
        yield Place("content", number), message["content"]
        if "tool_calls" in message:
            yield Place("tool_calls", number), msgspec.json.encode(message["tool_calls"]).decode()
    if row.tools:
        yield TOOLS, msgspec.json.encode(row.tools).decode()


def _refuse_lost_tools(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]], tokenizer: Tokenizer
) -> None:
    """A template that leaves tools out, without a word, would train on half of the row."""
    whole = _ids(tokenizer, messages, tools, prompt=False)
    if tools and whole == _ids(tokenizer, messages, [], prompt=False):
        raise TemplateError("the model's chat template has no place for `tools`", TOOLS)
    silent = [{key: message[key] for key in message if key != "tool_calls"} for message in messages]
    if silent != messages and whole == _ids(tokenizer, silent, tools, prompt=False):
        calling = next(number for number, message in enumerate(messages) if "tool_calls" in message)
        said = "the model's chat template has no place for `tool_calls`"
        raise TemplateError(said, Place("tool_calls", calling))


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
