"""`acls`: apply, diff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.attached import DataDir, attached, finished

if TYPE_CHECKING:
    from app.log.acl_admin import Difference

app = typer.Typer(
    help="Permissions on the brokers, as infra/kafka/acls.toml and topics.toml declare them.",
    no_args_is_help=True,
)


@app.command("apply")
def apply_declared(
    prune: Annotated[bool, typer.Option("--prune", help="Also withdraw what is not declared.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Grant each role what it needs; report what was missing, and what nobody declared.

    Example: `tunesmith-server acls apply`
    """
    from app.log import acls
    from app.log.access import access_of
    from app.log.acl_admin import apply

    found = attached(data_dir)
    differed = finished(apply(found.kafka or "", acls.declared(), access_of(found), prune=prune))
    for acl in differed.missing:
        print(f"granted: {acl}")
    for acl in differed.foreign:
        print(f"withdrawn: {acl}" if prune else f"not declared: {acl}")
    print(f"{len(acls.declared())} permissions are as declared")


@app.command("diff")
def diff(data_dir: DataDir = None) -> None:
    """Report how the brokers' permissions differ from the declared ones; change nothing.

    Example: `tunesmith-server acls diff`
    """
    from app.log import acls
    from app.log.access import access_of
    from app.log.acl_admin import difference

    found = attached(data_dir)
    _tell(finished(difference(found.kafka or "", acls.declared(), access_of(found))))


def _tell(differed: Difference) -> None:
    for acl in differed.missing:
        print(f"missing: {acl}")
    for acl in differed.foreign:
        print(f"not declared: {acl}")
    if differed.missing or differed.foreign:
        raise typer.Exit(1)
    print("all permissions are as declared")
