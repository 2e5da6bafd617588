"""Documents as YAML that people read."""

from __future__ import annotations

from typing import Any

import yaml


class _Readable(yaml.SafeDumper):
    """Texts of several lines as such, and nothing told by pointing at an earlier line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Readable.add_representer(str, _text)


def readable(document: dict[str, Any]) -> str:
    """A document in its own order, texts of several lines as such."""
    return yaml.dump(document, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=110)
