"""A model's tokenizer and chat template out of its folder, without torch and transformers.

It gives the very ids that transformers' `apply_chat_template` gives, which a test holds it to.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from app.datasets.tokenise import TemplateError

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# A base model can be tuned on plain texts all the same.
NO_TEMPLATE = "{{ raise_exception('there is none, and the model takes plain texts alone') }}"


class TokenizerError(Exception):
    """A model's tokenizer or chat template cannot be used; the sentence says why."""


class ModelTokenizer:
    """What `tokenise` needs of a tokenizer, and the text of each token."""

    def __init__(self, folder: Path) -> None:
        """Read a model's folder. Raises `TokenizerError`."""
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            self._template = _environment().from_string(_template(folder, config) or NO_TEMPLATE)
        except jinja2.TemplateError as error:
            raise TokenizerError(f"the chat template of {folder.name} cannot be used: {error}") from error
        except Exception as error:  # what tokenizers raises has no type of its own
            raise TokenizerError(f"the tokenizer of {folder.name} cannot be read: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        named = {name: _text(config[name]) for name in SPECIAL if config.get(name)}
        listed = config.get("extra_special_tokens", config.get("additional_special_tokens")) or []
        extra = [_text(token) for token in (listed.values() if isinstance(listed, dict) else listed)]
        self._named = named
        self.all_special_tokens: list[str] = list(dict.fromkeys([*named.values(), *extra]))
        self.eos_token = named.get("eos_token", "")
        self.eos_token_id: int | None = self._tokenizer.token_to_id(self.eos_token)

    def apply_chat_template(self, conversation: Any, **options: Any) -> list[int]:
        """The ids of a conversation; `options` may be `add_generation_prompt` and `tools`."""
        prompt, tools = options.get("add_generation_prompt", False), options.get("tools")
        return self.encode(self._rendered(conversation, tools, prompt=prompt), add_special_tokens=False)

    def encode(self, text: str, **options: Any) -> list[int]:
        """The ids of a text, with what the tokenizer puts around one unless `add_special_tokens` is False."""
        around = options.get("add_special_tokens", True)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=around).ids
        return ids

    def pieces(self, conversation: Any, tools: Any = None) -> list[tuple[int, str]]:
        """Each token's id and text; the texts together are what the template wrote.

        A character that takes several tokens stands at the last of them.
        """
        return self._pieces(self._rendered(conversation, tools, prompt=False), around=False)

    def text_pieces(self, text: str) -> list[tuple[int, str]]:
        """The same of a plain text, with what the tokenizer puts around one."""
        return self._pieces(text, around=True)

    def _pieces(self, text: str, *, around: bool) -> list[tuple[int, str]]:
        encoded = self._tokenizer.encode(text, add_special_tokens=around)
        found: list[tuple[int, str]] = []
        end = len(text)
        for id, (start, _), added in reversed(
            list(zip(encoded.ids, encoded.offsets, encoded.special_tokens_mask, strict=True))
        ):
            if added and around:  # stands for nothing in the text
                found.append((id, self._tokenizer.id_to_token(id) or ""))
            else:
                found.append((id, text[start:end]))
                end = start
        return found[::-1]

    def _rendered(self, conversation: Any, tools: Any, *, prompt: bool) -> str:
        """What the template writes. Raises `TemplateError`."""
        try:
            return self._template.render(
                messages=[dict(message) for message in conversation],
                tools=[dict(tool) for tool in tools] if tools else [],
                documents=None,
                add_generation_prompt=prompt,
                **self._named,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise TemplateError(f"the model's chat template refuses the conversation: {error}") from error


def _template(folder: Path, config: dict[str, Any]) -> str | None:
    """The model's chat template, a file of its own or a field of the tokenizer's configuration; or none."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    told = config.get("chat_template")
    if isinstance(told, list):  # several by name; the one that is meant when none is named
        told = {one["name"]: one["template"] for one in told}.get("default")
    return told if isinstance(told, str) else None


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates are written for it: a template is a stranger's code, so in a sandbox."""

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # noqa: DTZ005
    return environment


class _Generation(Extension):
    """`{% generation %}` marks what the assistant says; here it only writes what stands in it."""

    tags = {"generation"}  # noqa: RUF012 – as jinja declares it

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

    def _written(self, caller: Any) -> Any:
        return caller()


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)
