"""`keys`: create, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.attached import DataDir, attached, fail, fetched, finished

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command("create")
def create(
    account: Annotated[str, typer.Option(help="Account; opened if there is none of that name.")] = "default",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="read, write, admin; several times.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it: it is shown this once."""
    from app.keys import issue
    from app.log.kafka import log_of

    scopes = tuple(scope or ("read", "write"))
    if bad := [one for one in scopes if one not in ("read", "write", "admin")]:
        fail(f"there is no scope {bad[0]!r}; there are read, write, admin")
    key_id, secret = finished(issue(log_of(attached(data_dir)), account, name, scopes))  # type: ignore[arg-type]
    typer.echo(f"key {key_id} of account {account}, shown this once:", err=True)
    print(secret)


@app.command("list")
def list_all(data_dir: DataDir = None) -> None:
    """List all keys, never their secrets."""
    rows = finished(
        fetched(
            attached(data_dir),
            "SELECT k.id, a.state->>'name' AS account, k.name, k.scopes, k.created_at, k.revoked_at "
            "FROM read.api_keys k JOIN read.accounts a ON a.id = k.account_id ORDER BY k.created_at",
        )
    )
    for row in rows:
        state = f"revoked {row['revoked_at']:%Y-%m-%d}" if row["revoked_at"] else "valid"
        print(f"{row['id']}  {row['account']:<16} {row['name']:<16} {','.join(row['scopes']):<18} {state}")


@app.command("revoke")
def revoke_one(
    key_id: str,
    account: Annotated[str, typer.Option(help="The account that the key belongs to.")] = "default",
    data_dir: DataDir = None,
) -> None:
    """Make a key worthless."""
    from app.keys import revoke
    from app.log.kafka import log_of

    finished(revoke(log_of(attached(data_dir)), account, key_id))
    print(f"{key_id} is revoked")
