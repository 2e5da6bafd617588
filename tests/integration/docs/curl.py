"""As much of curl as the docs use, for machines that have none: `python -m tests.integration.docs.curl …`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import httpx

FAILED = 22  # curl's own, for an answer of 400 or more under -f


def main(words: list[str]) -> int:
    """The exit code."""
    known = argparse.ArgumentParser(prog="curl", allow_abbrev=False)
    for name in ("-s", "-f", "-N"):
        known.add_argument(name, action="store_true")
    for name in ("-H", "-F"):
        known.add_argument(name, action="append", default=[])
    known.add_argument("-X")
    known.add_argument("-d")
    known.add_argument("url")
    asked = known.parse_args(words)
    headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in asked.H)]
    body: dict[str, Any] = {}
    if asked.F:
        body["files"] = [_field(each) for each in asked.F]
    elif asked.d is not None:
        body["content"] = asked.d
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("content-type", "application/x-www-form-urlencoded"))
    method = asked.X or ("POST" if body else "GET")
    with httpx.stream(method, asked.url, headers=headers, timeout=None, **body) as answer:
        if asked.f and answer.is_error:
            return FAILED
        for text in answer.iter_text():
            sys.stdout.write(text)
            sys.stdout.flush()
    return 0


def _field(given: str) -> tuple[str, Any]:
    """A field of a form: `name=value`, or `name=@path`."""
    name, _, value = given.partition("=")
    if not value.startswith("@"):
        return name, (None, value)
    path = Path(value.removeprefix("@"))
    return name, (path.name, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
