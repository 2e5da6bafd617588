"""`users`: apply, diff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.attached import DataDir, attached, fail, finished

app = typer.Typer(
    help="Each role's user on the brokers, as infra/kafka/acls.toml declares them.", no_args_is_help=True
)


@app.command("apply")
def apply_declared(
    passwords: Annotated[
        Path,
        typer.Option(
            help="Folder of one file for each user, named as the user, that holds its password; "
            "what is missing is made up and written there."
        ),
    ],
    prune: Annotated[bool, typer.Option("--prune", help="Also delete ours that are not declared.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make the users that are missing, and give each the password that its file holds.

    Example: `tunesmith-server users apply --passwords secrets/`
    """
    from app.log import acls, user_admin
    from app.log.access import access_of

    found = attached(data_dir)
    access = access_of(found)
    before = finished(user_admin.found(found.kafka or "", access))
    try:
        of_each = user_admin.passwords_in(passwords, acls.users())
    except (OSError, ValueError) as error:
        fail(str(error))
    finished(user_admin.apply(found.kafka or "", of_each, access))
    for user in of_each:
        print(f"{'password set' if user in before else 'made'}: {user}")
    if foreign := _foreign(before):
        if prune:
            finished(user_admin.delete(found.kafka or "", foreign, access))
        for user in sorted(foreign):
            print(f"{'deleted' if prune else 'not declared'}: {user}")


@app.command("diff")
def diff(data_dir: DataDir = None) -> None:
    """Report which users are missing on the brokers, and which of ours nobody declared; change nothing.

    Example: `tunesmith-server users diff`
    """
    from app.log import acls, user_admin
    from app.log.access import access_of

    settings = attached(data_dir)
    found = finished(user_admin.found(settings.kafka or "", access_of(settings)))
    missing, foreign = acls.users() - found, _foreign(found)
    for user in sorted(missing):
        print(f"missing: {user}")
    for user in sorted(foreign):
        print(f"not declared: {user}")
    if missing or foreign:
        raise typer.Exit(1)
    print("all users are as declared")


def _foreign(found: set[str]) -> set[str]:
    """Users that are named as ours and are no role's; who is named otherwise is somebody else's."""
    from app.log import acls

    ours = {user for user in found if user.startswith(acls.PREFIX)}
    return ours - acls.users() - {acls.OPERATOR}
