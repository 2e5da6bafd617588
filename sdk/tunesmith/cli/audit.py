"""`tunesmith audit …`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from tunesmith.cli import show
from tunesmith.cli.session import Json, Limit, connect, out, print_json

app = typer.Typer(help="The audit log: what was refused, and what was changed.", no_args_is_help=True)


@app.command("list")
def list_entries(
    context: typer.Context,
    limit: Limit = 20,
    action: Annotated[
        str | None, typer.Option(help="Only this action, such as createKey.", show_default=False)
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only these: done, refused or failed.", show_default=False)
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Only this account's; for admins.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """List what was refused and what was changed, newest first.

    Example: `tunesmith audit list --outcome refused`
    """
    with connect(context) as client:
        every = client.audit.iter(action=action, outcome=outcome, account=account, page_size=min(limit, 100))
        entries = list(islice(every, limit))
    if json:
        print_json([entry.to_dict() for entry in entries])
    else:
        show.audit(out(), entries)
