"""`tunesmith keys …`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from tunesmith import ApiKey
from tunesmith.cli import show
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.ids import KeyId
from tunesmith.cli.session import Json, Limit, connect, out, print_json, say

app = typer.Typer(help="API keys: create, list, rotate, revoke.", no_args_is_help=True)


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.", show_default=False)],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="read, write or admin, of those your own key has; can be repeated.  [default: read, write]",
            show_default=False,
        ),
    ] = None,
    expires_in: Annotated[
        int | None, typer.Option(help="Seconds until it stops working.", min=1, show_default=False)
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Id of another account; for admins.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Make a key. The secret is printed now and never again.

    Example: `tunesmith keys create ci --scope read`
    """
    with connect(context) as client:
        key = client.keys.create(name, scope or ("read", "write"), expires_in=expires_in, account=account)
    _tell_secret(key, json=json)


@app.command("list")
def list_keys(context: typer.Context, limit: Limit = 20, json: Json = False) -> None:
    """List the account's keys, newest first.

    Example: `tunesmith keys list`
    """
    with connect(context) as client:
        keys = list(islice(client.keys.iter(page_size=min(limit, 100)), limit))
    if json:
        print_json([key.to_dict() for key in keys])
    else:
        show.keys(out(), keys)


@app.command("rotate")
def rotate(
    context: typer.Context,
    key: KeyId,
    keep_seconds: Annotated[
        int, typer.Option(help="How long the old one goes on working beside it.", min=0)
    ] = 0,
    json: Json = False,
) -> None:
    """Make a new key in place of one. The secret is printed now and never again.

    Example: `tunesmith keys rotate key-abc --keep-seconds 3600`
    """
    with connect(context) as client:
        made = client.keys.rotate(key, keep_seconds=keep_seconds)
    _tell_secret(made, json=json)


@app.command("revoke")
def revoke(
    context: typer.Context,
    key: KeyId,
    force: Annotated[
        bool, typer.Option("--force", help="Even when it is the installation's last admin key.")
    ] = False,
    json: Json = False,
) -> None:
    """End a key, everywhere and within a second.

    Example: `tunesmith keys revoke key-abc`
    """
    with connect(context) as client:
        revoked = client.keys.revoke(key, force=force)
    if json:
        print_json(revoked.to_dict())
    else:
        say(f"revoked {key}")


def _tell_secret(key: ApiKey, *, json: bool) -> None:
    if json:
        print_json(key.to_dict())
        return
    if key.key is None:
        say(f"{key.id} was made, but the answer with its secret got lost: tunesmith keys rotate {key.id}")
        raise typer.Exit(ExitCode.FAILED)
    typer.echo(key.key)
    say(f"this is {key.id}; keep it now, for it is not shown again")
