"""`tunesmith accounts …`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from tunesmith import Account
from tunesmith.cli import show
from tunesmith.cli.ids import AccountId
from tunesmith.cli.pairs import limits_of
from tunesmith.cli.session import Json, Limit, connect, out, print_json, say

app = typer.Typer(help="Accounts: your own, and for admins all of them.", no_args_is_help=True)

Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="running_tunings, waiting_tunings, stored_bytes or creates_per_minute: a number, 0 for "
        "unlimited, or default; can be repeated.",
        show_default=False,
    ),
]


@app.command("current")
def current(context: typer.Context, json: Json = False) -> None:
    """Show your own account, with its limits and what it uses of them.

    Example: `tunesmith accounts current`
    """
    with connect(context) as client:
        _tell(client.accounts.current(), json=json)


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.", show_default=False)],
    limit: Limits = None,
    json: Json = False,
) -> None:
    """Open an account; `tunesmith keys create NAME --account ID` makes its first key.

    Example: `tunesmith accounts create research --limit running_tunings=2`
    """
    limits = limits_of(limit or [])
    with connect(context) as client:
        made = client.accounts.create(name, limits or None)
    if json:
        print_json(made.to_dict())
    else:
        typer.echo(made.id)


@app.command("list")
def list_accounts(context: typer.Context, limit: Limit = 20, json: Json = False) -> None:
    """List all accounts, newest first.

    Example: `tunesmith accounts list`
    """
    with connect(context) as client:
        accounts = list(islice(client.accounts.iter(page_size=min(limit, 100)), limit))
    if json:
        print_json([account.to_dict() for account in accounts])
    else:
        show.accounts(out(), accounts)


@app.command("get")
def get(context: typer.Context, account: AccountId, json: Json = False) -> None:
    """Show one account.

    Example: `tunesmith accounts get acct-abc`
    """
    with connect(context) as client:
        _tell(client.accounts.get(account), json=json)


@app.command("update")
def update(
    context: typer.Context,
    account: AccountId,
    name: Annotated[
        str | None, typer.Option(help="What it is called from now on.", show_default=False)
    ] = None,
    limit: Limits = None,
    json: Json = False,
) -> None:
    """Change an account's name or limits.

    Example: `tunesmith accounts update acct-abc --limit stored_bytes=default`
    """
    if name is None and not limit:
        raise typer.BadParameter("give --name or --limit")
    limits = limits_of(limit or [])
    with connect(context) as client:
        _tell(client.accounts.update(account, name=name, limits=limits or None), json=json)


@app.command("suspend")
def suspend(
    context: typer.Context,
    account: AccountId,
    force: Annotated[
        bool, typer.Option("--force", help="Even when it has the installation's last admin key.")
    ] = False,
    json: Json = False,
) -> None:
    """Refuse all that an account asks for; running jobs finish, waiting ones wait.

    Example: `tunesmith accounts suspend acct-abc`
    """
    with connect(context) as client:
        suspended = client.accounts.suspend(account, force=force)
    print_json(suspended.to_dict()) if json else say(f"{suspended.id} is suspended")


@app.command("reinstate")
def reinstate(context: typer.Context, account: AccountId, json: Json = False) -> None:
    """Take a suspension back.

    Example: `tunesmith accounts reinstate acct-abc`
    """
    with connect(context) as client:
        reinstated = client.accounts.reinstate(account)
    print_json(reinstated.to_dict()) if json else say(f"{reinstated.id} is no longer suspended")


def _tell(account: Account, *, json: bool) -> None:
    if json:
        print_json(account.to_dict())
    else:
        show.account(out(), account)
