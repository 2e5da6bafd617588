"""`accounts`: list, create, limits, suspend, reinstate."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.attached import DataDir, attached, fetched, finished
from app.cli.audited import audited

app = typer.Typer(help="Accounts: who shares this installation.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The account's id, or the name it was opened under.")]
Quota = Annotated[int | None, typer.Option(min=0, help="0: no limit; not given: the installation's.")]


@app.command("list")
def list_all(data_dir: DataDir = None) -> None:
    """List all accounts with their own limits.

    Example: `tunesmith-server accounts list`
    """
    query = "SELECT id, name, suspended, limits FROM read.accounts ORDER BY created_at"
    for row in finished(fetched(attached(data_dir), query)):
        state = "suspended" if row["suspended"] else "open"
        print(f"{row['id']}  {row['name']:<16} {state:<10} {row['limits']}")


@app.command("create")
def create(name: str, data_dir: DataDir = None) -> None:
    """Open an account; make a key for it with `keys create --account`.

    Example: `tunesmith-server accounts create research`
    """
    from app.domain.accounts import OpenAccount

    print(f"{_asked(name, 'createAccount', OpenAccount(name, fresh=True), data_dir).id} is open")


@app.command("limits")
def limits(
    name: Name,
    running_tunings: Quota = None,
    waiting_tunings: Quota = None,
    stored_bytes: Quota = None,
    creates_per_minute: Quota = None,
    data_dir: DataDir = None,
) -> None:
    """Set all limits of an account anew.

    Example: `tunesmith-server accounts limits research --running-tunings 2`
    """
    from app.domain.accounts import SetLimits

    command = SetLimits(running_tunings, waiting_tunings, stored_bytes, creates_per_minute)
    print(f"{name}: {_asked(name, 'updateAccount', command, data_dir).limits}")


@app.command("suspend")
def suspend(name: Name, data_dir: DataDir = None) -> None:
    """Refuse everything an account asks for; running tunings finish, waiting ones wait.

    Example: `tunesmith-server accounts suspend research`
    """
    from app.domain.accounts import SuspendAccount

    _asked(name, "suspendAccount", SuspendAccount(), data_dir)
    print(f"{name} is suspended")


@app.command("reinstate")
def reinstate(name: Name, data_dir: DataDir = None) -> None:
    """End a suspension.

    Example: `tunesmith-server accounts reinstate research`
    """
    from app.domain.accounts import ReinstateAccount

    _asked(name, "reinstateAccount", ReinstateAccount(), data_dir)
    print(f"{name} is no longer suspended")


def _asked(name: str, action: str, command: Any, data_dir: DataDir) -> Any:
    from app.keys import account_id, asked
    from app.log.kafka import log_of

    found, id = attached(data_dir), account_id(name)
    return finished(audited(found, action, asked(log_of(found), id, command), account=id, target=id))
