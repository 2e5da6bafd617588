"""About how many tokens a row has, before it is known for which model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from app.datasets.formats import AnyRow, Pair, Row, Text

CHARACTERS_PER_TOKEN = 3  # fewer than in most texts, so that few rows are longer than told
AROUND_A_MESSAGE = 6  # what chat templates write around it


def about_tokens(row: AnyRow) -> int:
    """Tokens of a row, rather too many than too few; of a pair those of its longer side."""
    match row:
        case Text():
            return _of_text(row.text)
        case Pair():
            sides = max(_of_messages(row.chosen), _of_messages(row.rejected))
            return _of_messages(row.prompt) + sides + _of_json(row.tools)
        case Row():
            return _of_messages(row.messages) + _of_json(row.tools)


def _of_messages(messages: Iterable[Mapping[str, Any]]) -> int:
    return sum(
        AROUND_A_MESSAGE + _of_text(message["content"]) + _of_json(message.get("tool_calls"))
        for message in messages
    )


def _of_json(value: Any) -> int:
    return _of_text(msgspec.json.encode(value).decode()) if value else 0


def _of_text(text: str) -> int:
    """Letters beyond ASCII are counted by the bytes that they have more than one."""
    beyond = 0 if text.isascii() else len(text.encode(errors="replace")) - len(text)
    return -(-len(text) // CHARACTERS_PER_TOKEN) + beyond
