"""The model's tokenizer without transformers gives what transformers gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from app.catalogue.at_hand import ensure_model
from app.catalogue.catalogue import CATALOGUE
from app.datasets.tokenise import TemplateError
from app.datasets.tokenizer import ModelTokenizer, TokenizerError

MODEL = next(iter(CATALOGUE.values()))
CONVERSATIONS: list[list[tuple[str, str]]] = [
    [("user", "1 + 1?"), ("assistant", "2")],
    [("system", "Answer in German."), ("user", "Hello"), ("assistant", "Grüß Gott, schöne Maß!")],
    [("user", "a"), ("assistant", "b"), ("user", "  c\n\n"), ("assistant", "\td  ")],
    [
        ("user", "日本語で話してください 🎉👩‍👩‍👧"),
        ("assistant", "はい、そうします。"),
        ("user", "…"),
        ("assistant", "。"),
    ],
    [("user", "def f(x):\n    return {'a': [x, 1e-3]}\n"), ("assistant", "```python\nprint(f'{x!r}')\n```")],
    [("user", "0123456789 1234567 3.14159"), ("assistant", "<|not special|> <b> [INST] {{ x }} {% if %}")],
    [("user", "\u00a0\u200b\ufeff\r\n"), ("assistant", "x" * 300)],
    [("user", "only a question")],
]


@pytest.fixture(scope="module")
def folder(cache_dir: Path) -> Path:
    return ensure_model(cache_dir, MODEL)


@pytest.fixture(scope="module")
def ours(folder: Path) -> ModelTokenizer:
    return ModelTokenizer(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def messages(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def same(ours: ModelTokenizer, theirs: Any, turns: list[tuple[str, str]]) -> None:
    for prompt in (False, True):
        options: dict[str, Any] = {
            "tokenize": True,
            "add_generation_prompt": prompt,
            "return_dict": False,
        }
        wanted = theirs.apply_chat_template(messages(turns), **options)
        assert ours.apply_chat_template(messages(turns), **options) == wanted


@pytest.mark.parametrize("turns", CONVERSATIONS, ids=lambda turns: turns[0][1][:12])
def test_ids_are_those_of_transformers(
    ours: ModelTokenizer, theirs: Any, turns: list[tuple[str, str]]
) -> None:
    same(ours, theirs, turns)
    assert ours.encode(turns[0][1]) == theirs.encode(turns[0][1])
    assert ours.eos_token_id == theirs.eos_token_id
    assert sorted(ours.all_special_tokens) == sorted(theirs.all_special_tokens)


@settings(deadline=None, max_examples=150)
@given(turns=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1))
def test_so_are_those_of_whatever_can_be_written(
    ours: ModelTokenizer, theirs: Any, turns: list[tuple[str, str]]
) -> None:
    same(ours, theirs, turns)


@pytest.mark.parametrize("turns", CONVERSATIONS, ids=lambda turns: turns[0][1][:12])
def test_the_pieces_are_the_tokens_and_together_the_text(
    ours: ModelTokenizer, theirs: Any, turns: list[tuple[str, str]]
) -> None:
    pieces = ours.pieces(messages(turns))
    written = theirs.apply_chat_template(messages(turns), tokenize=False)
    assert "".join(text for _, text in pieces) == written
    assert [id for id, _ in pieces] == ours.apply_chat_template(messages(turns))


def test_a_template_with_a_generation_block_writes_what_stands_in_it(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "{{ eos_token }}{% endgeneration %}{% else %}{{ m | tojson }}{% endif %}{% endfor %}"
    )
    (copy / "chat_template.jinja").write_text(template)
    pieces = ModelTokenizer(copy).pieces(messages([("user", "ä"), ("assistant", "b")]))
    assert "".join(text for _, text in pieces) == '{"role": "user", "content": "ä"}b<|im_end|>'


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('roles must alternate') }}", "{{ messages[9].content + 1 }}"]
)
def test_a_template_that_refuses_a_conversation_says_why(folder: Path, tmp_path: Path, template: str) -> None:
    copy = tmp_path / "model"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "chat_template.jinja").write_text(template)
    with pytest.raises(TemplateError, match="chat template refuses"):
        ModelTokenizer(copy).apply_chat_template(messages(CONVERSATIONS[0]))


def test_a_folder_without_a_template_or_tokenizer_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="cannot be read"):
        ModelTokenizer(tmp_path)
    Tokenizer.from_file(str(folder / "tokenizer.json")).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    plain = ModelTokenizer(tmp_path)
    assert plain.encode("1 2") == ModelTokenizer(folder).encode("1 2")
    with pytest.raises(TemplateError, match="takes plain texts alone"):
        plain.apply_chat_template(messages(CONVERSATIONS[0]))
    (tmp_path / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(TokenizerError, match="chat template"):
        ModelTokenizer(tmp_path)
