"""Named queries out of `sql/*.sql`."""

from __future__ import annotations

import re
from importlib.resources import files

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


def sql(name: str) -> str:
    """A whole file of `sql/`."""
    return files("app.projections").joinpath("sql", f"{name}.sql").read_text()


def named(name: str) -> dict[str, str]:
    """The queries of a file by their `-- name:`."""
    return {key: text.strip().rstrip(";") for key, text in _NAMED.findall(sql(name))}
