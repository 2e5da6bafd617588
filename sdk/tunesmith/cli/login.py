"""Logging in and out."""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith import TuningClient
from tunesmith._settings import DEFAULT_BASE_URL
from tunesmith.cli.config import Login, login_path, read_login, write_login
from tunesmith.cli.session import Json, Options, print_json, say


def login(
    context: typer.Context,
    base_url: Annotated[str | None, typer.Option(help="The service's address.", show_default=False)] = None,
    api_key: Annotated[
        str | None, typer.Option(help="The key; asked for when left out.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Store the service's address and your key, once the service has taken the key.

    They are kept in your config folder, readable by you alone; options, TUNESMITH_BASE_URL and
    TUNESMITH_API_KEY go before them.

    Example: `tunesmith login --base-url http://gpu-box:8000`
    """
    options: Options = context.obj
    stored = read_login(login_path())
    url = base_url or options.base_url
    if url is None:
        url = typer.prompt("Address", default=stored.base_url or DEFAULT_BASE_URL, err=True)
    key = api_key or options.api_key or typer.prompt("API key", hide_input=True, err=True)
    with TuningClient(key, url, options.timeout) as client:
        client.models.list()
        taken = Login(client.base_url, client.api_key)
    write_login(login_path(), taken)
    if json:
        print_json({"base_url": taken.base_url, "path": str(login_path())})
    else:
        say(f"Logged in to {taken.base_url}; kept in {login_path()}")


def logout(json: Json = False) -> None:
    """Forget the stored address and key.

    Example: `tunesmith logout`
    """
    path = login_path()
    there = path.exists()
    path.unlink(missing_ok=True)
    if json:
        print_json({"path": str(path), "removed": there})
    else:
        say(f"Removed {path}" if there else "There was no login")
