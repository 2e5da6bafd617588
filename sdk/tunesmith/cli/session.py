"""What every command has: a client of the service, and the two ways to print."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

from tunesmith import AuthenticationError, RateLimitError, TuningClient
from tunesmith.cli.config import Login, login_path, read_login

WIDTH_OF_A_PIPE = 240
WORTH_TELLING = 5.0

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1)]


@dataclass(frozen=True)
class Options:
    """What was given before the command."""

    base_url: str | None
    api_key: str | None
    timeout: float


def connect(context: typer.Context) -> TuningClient:
    """A client as the options, the environment and the stored login say, in this order."""
    return client_of(context.obj)


def client_of(options: Options) -> TuningClient:
    """The same of options that were not given to a command."""
    stored = read_login(login_path())
    key, url = options.api_key, options.base_url
    if key is None and url is None and not os.environ.get("TUNESMITH_BASE_URL"):
        url = stored.base_url
    if key is None and not os.environ.get("TUNESMITH_API_KEY") and _same_service(url, stored):
        key = stored.api_key
    if key is None and not os.environ.get("TUNESMITH_API_KEY"):
        raise AuthenticationError(
            "no API key: run `tunesmith login`, give --api-key before the command, or set TUNESMITH_API_KEY"
        )
    return TuningClient(key, url, options.timeout)


def _same_service(url: str | None, stored: Login) -> bool:
    """Whether the stored key is meant for this service: it is never sent to another."""
    chosen = url or os.environ.get("TUNESMITH_BASE_URL")
    return chosen is None or chosen.rstrip("/") == (stored.base_url or "").rstrip("/")


class _Waits(logging.Handler):
    """Says on stderr that a call is tried again later, where somebody would wonder."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one wait."""
        wait, error = getattr(record, "wait", 0.0), getattr(record, "error", None)
        if isinstance(error, RateLimitError) or wait >= WORTH_TELLING:
            say(f"{error}: trying again in {math.ceil(wait)} s")


def tell_waits() -> None:
    """From now on say when a call has to wait before it is tried again, and for how long."""
    logger = logging.getLogger("tunesmith")
    logger.setLevel(logging.INFO)
    logger.handlers = [each for each in logger.handlers if not isinstance(each, _Waits)] + [_Waits()]


def out() -> Console:
    """The console of results; away from a terminal it is wide, so that a table's row stays a line."""
    wide = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else WIDTH_OF_A_PIPE
    return Console(file=sys.stdout, highlight=False, width=wide)


def say(text: str) -> None:
    """A remark beside the result, on stderr, so that what is piped on stays clean."""
    typer.echo(text, err=True)


def complain(text: str) -> None:
    """An error, as one line on stderr."""
    typer.secho("tunesmith: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(" ".join(text.split()), err=True)


def complain_in_json(error: Mapping[str, Any]) -> None:
    """An error, as one line of JSON on stderr, in the form that the service's own errors have."""
    typer.echo(json.dumps({"error": error}, ensure_ascii=False), err=True)


def print_json(value: Mapping[str, Any] | list[Any], *, compact: bool = False) -> None:
    """A result as JSON; `compact` keeps it on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))
