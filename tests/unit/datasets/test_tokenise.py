from __future__ import annotations

import hashlib
import json
from typing import Any

import jinja2
import pytest

from app.datasets.formats import Row, Text
from app.datasets.tokenise import (
    IGNORED,
    SpecialTokenInText,
    TemplateError,
    Tokens,
    labels_hash,
    tokenise,
)

START, END = 1, 2
LONG = 10_000


class Letters:
    """A ChatML tokenizer: one token a character, `<` and `>` begin and end a turn."""

    eos_token_id = END
    all_special_tokens = ("<", ">")

    def __init__(self, template: str = "chatml") -> None:
        self._template = template

    def apply_chat_template(self, conversation: Any, **options: Any) -> list[int]:
        if self._template == "strict" and any(one["role"] == "tool" for one in conversation):
            raise jinja2.TemplateError("no tools here")
        text = "".join(self._turn(one) for one in conversation)
        if self._template == "tools" and options.get("tools"):
            text = f"<tools\n{json.dumps(options['tools'])}>\n{text}"
        if options["add_generation_prompt"]:
            text += "<assistant\n"
        if self._template == "counting":
            text = f"{len(conversation)}:{text}"
        if self._template == "endless":
            text = text.replace(">", "")
        return self.encode(text)

    def _turn(self, message: Any) -> str:
        shows = self._template == "tools" and "tool_calls" in message
        called = json.dumps(message["tool_calls"]) if shows else ""
        return f"<{message['role']}\n{message['content']}{called}>\n"

    def encode(self, text: str, **options: Any) -> list[int]:
        return [{"<": START, ">": END}.get(letter, ord(letter)) for letter in text]


def row(*turns: tuple[str, str]) -> Row:
    return Row(tuple({"role": role, "content": content} for role, content in turns))


def trained_text(tokens: Tokens) -> str:
    """What is trained, unlabelled tokens as dots."""
    shown = {IGNORED: ".", END: ">"}
    return "".join(shown.get(label) or chr(label) for label in tokens.labels)


def test_only_the_answer_and_its_end_are_trained() -> None:
    tokens = tokenise(row(("user", "hi"), ("assistant", "yes")), Letters(), LONG)
    assert trained_text(tokens) == "." * len("<user\nhi>\n<assistant\n") + "yes>"
    assert tokens.trainable == 4
    assert len(tokens.input_ids) == len(tokens.labels)


def test_labels_are_the_tokens_themselves_where_they_are_trained() -> None:
    tokens = tokenise(row(("user", "hi"), ("assistant", "yes")), Letters(), LONG)
    assert all(
        label in (IGNORED, token) for token, label in zip(tokens.input_ids, tokens.labels, strict=True)
    )


def test_every_answer_of_a_conversation_is_trained() -> None:
    tokens = tokenise(
        row(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), Letters(), LONG
    )
    assert trained_text(tokens).replace(".", "") == "b>d>"


def test_nothing_stands_behind_the_last_answer() -> None:
    tokens = tokenise(row(("user", "a"), ("assistant", "b")), Letters(), LONG)
    assert tokens.input_ids[-1] == END


def test_a_conversation_is_tokenised_as_the_template_writes_it_as_a_whole() -> None:
    letters = Letters()
    chat = row(("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    whole = letters.apply_chat_template(list(chat.messages), add_generation_prompt=False)
    assert tokenise(chat, letters, LONG).input_ids == whole[:-1]


def test_truncation_cuts_the_end_and_counts_what_is_lost() -> None:
    chat = row(("user", "hi"), ("assistant", "yes"))
    whole = tokenise(chat, Letters(), LONG)
    cut = tokenise(chat, Letters(), len(whole.input_ids) - 2)
    assert cut.input_ids == whole.input_ids[:-2]
    assert (cut.cut, cut.cut_trainable, cut.trainable) == (2, 2, 2)


def test_a_row_cut_before_its_answer_has_nothing_to_train() -> None:
    tokens = tokenise(row(("user", "hi"), ("assistant", "yes")), Letters(), 5)
    assert (tokens.trainable, tokens.cut_trainable) == (0, 4)


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    with pytest.raises(TemplateError, match="changes earlier turns"):
        tokenise(row(("user", "hi"), ("assistant", "yes")), Letters("counting"), LONG)


def test_a_template_without_an_end_of_turn_is_refused() -> None:
    with pytest.raises(TemplateError, match="end-of-turn"):
        tokenise(row(("user", "hi"), ("assistant", "yes")), Letters("endless"), LONG)


def test_a_special_token_in_a_text_is_refused_where_it_stands() -> None:
    with pytest.raises(SpecialTokenInText, match="/messages/0/content holds >"):
        tokenise(row(("user", "a > b"), ("assistant", "yes")), Letters(), LONG)


TOOL = {"type": "function", "function": {"name": "look"}}
CALL = {"id": "a", "type": "function", "function": {"name": "look", "arguments": {}}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
ASKED, SAID = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
FOUND = {"role": "tool", "content": "c", "tool_call_id": "a"}


def test_calls_are_trained_as_answers_are_and_tools_only_read() -> None:
    tokens = tokenise(Row((ASKED, CALLING, FOUND, SAID), (TOOL,)), Letters("tools"), LONG)
    assert trained_text(tokens).replace(".", "") == json.dumps([CALL]) + ">b>"
    assert "look" in "".join(map(chr, tokens.input_ids[: tokens.labels.index(ord("["))]))


def test_a_template_that_would_lose_tools_or_calls_is_refused() -> None:
    for row in (Row((ASKED, SAID), (TOOL,)), Row((ASKED, CALLING))):
        assert tokenise(row, Letters("tools"), LONG).trainable > 0
        with pytest.raises(TemplateError, match="has no place for `tool"):
            tokenise(row, Letters(), LONG)


def test_a_template_that_raises_is_told_as_a_fault_of_the_row() -> None:
    with pytest.raises(TemplateError, match="refuses the row: no tools here"):
        tokenise(Row((ASKED, FOUND, SAID)), Letters("strict"), LONG)


def test_a_special_token_among_tools_is_refused() -> None:
    sneaky = {"type": "function", "function": {"name": "look", "description": "a>b"}}
    with pytest.raises(SpecialTokenInText, match="/tools holds >"):
        tokenise(Row((ASKED, SAID), (sneaky,)), Letters("tools"), LONG)


def test_an_answer_that_is_not_to_be_trained_is_only_read() -> None:
    chat = row(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    tokens = tokenise(Row(chat.messages, untrained=(1,)), Letters(), LONG)
    assert tokens.input_ids == tokenise(chat, Letters(), LONG).input_ids
    assert trained_text(tokens).replace(".", "") == "d>"


def test_a_text_is_trained_whole_but_for_its_first_token_and_ended() -> None:
    tokens = tokenise(Text("abc"), Letters(), LONG)
    assert (trained_text(tokens), tokens.trainable) == (".bc>", 3)
    assert tokens.input_ids == [*map(ord, "abc"), END]
    cut = tokenise(Text("abc"), Letters(), 2)
    assert (trained_text(cut), cut.cut, cut.cut_trainable) == (".b", 2, 2)
    with pytest.raises(SpecialTokenInText, match="/text holds >"):
        tokenise(Text("a>b"), Letters(), LONG)


def test_the_hash_of_labels_is_that_of_their_bytes() -> None:
    # 2 tokens: 5, 6; 2 labels: -100, 6; every number and count in 4 bytes, little-endian
    written = "020000000500000006000000020000009cffffff06000000"
    assert labels_hash([Tokens([5, 6], [IGNORED, 6], 0, 0)]) == _sha256(bytes.fromhex(written))


def test_the_hash_of_labels_changes_with_a_label_and_with_the_order() -> None:
    one, two = Tokens([5, 6], [IGNORED, 6], 0, 0), Tokens([5, 6], [IGNORED, IGNORED], 0, 0)
    hashes = {labels_hash(rows) for rows in ([one], [two], [one, two], [two, one])}
    assert len(hashes) == 4


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
