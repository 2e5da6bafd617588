"""`keys`: create, list, rotate, revoke."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.attached import DataDir, attached, fail, fetched, finished
from app.cli.audited import audited

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command("create")
def create(
    account: Annotated[str, typer.Option(help="Account; opened if there is none of that name.")] = "default",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="read, write, admin; several times.")] = None,
    expires_in: Annotated[int | None, typer.Option(min=1, help="Seconds from now; else never.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it: it is shown this once.

    Example: `tunesmith-server keys create --account research --scope read --scope write`
    """
    from app.keys import account_id, issue
    from app.log.kafka import log_of

    scopes = tuple(scope or ("read", "write"))
    if bad := [one for one in scopes if one not in ("read", "write", "admin")]:
        fail(f"there is no scope {bad[0]!r}; there are read, write, admin")
    expires_at = datetime.now(UTC) + timedelta(seconds=expires_in) if expires_in is not None else None
    found = attached(data_dir)
    made = issue(log_of(found), account, name, scopes, expires_at)  # type: ignore[arg-type]
    key_id, secret = finished(audited(found, "createKey", made, account=account_id(account)))
    typer.echo(f"key {key_id} of account {account}, shown this once:", err=True)
    print(secret)


@app.command("list")
def list_all(data_dir: DataDir = None) -> None:
    """List all keys, never their secrets.

    Example: `tunesmith-server keys list`
    """
    rows = finished(
        fetched(
            attached(data_dir),
            "SELECT k.id, a.name AS account, k.name, k.scopes, k.revoked_at, k.expires_at, "
            "k.expires_at <= now() AS expired "
            "FROM read.api_keys k JOIN read.accounts a ON a.id = k.account_id ORDER BY k.created_at",
        )
    )
    for row in rows:
        state = "valid"
        if row["revoked_at"]:
            state = f"revoked {row['revoked_at']:%Y-%m-%d}"
        elif row["expires_at"]:
            state = f"{'expired' if row['expired'] else 'valid until'} {row['expires_at']:%Y-%m-%d}"
        print(f"{row['id']}  {row['account']:<16} {row['name']:<16} {','.join(row['scopes']):<18} {state}")


@app.command("rotate")
def rotate_one(
    key_id: str,
    account: Annotated[str, typer.Option(help="The account that the key belongs to.")] = "default",
    keep: Annotated[int, typer.Option(min=0, help="Seconds that the old key stays good.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Replace a key by a new one and print that: it is shown this once.

    Example: `tunesmith-server keys rotate key-abc --keep 3600`
    """
    from app.keys import account_id, rotate
    from app.log.kafka import log_of

    found = attached(data_dir)
    made = rotate(log_of(found), account, key_id, keep)
    new_id, secret = finished(audited(found, "rotateKey", made, account=account_id(account), target=key_id))
    typer.echo(f"key {new_id} in place of {key_id}, shown this once:", err=True)
    print(secret)


@app.command("revoke")
def revoke_one(
    key_id: str,
    account: Annotated[str, typer.Option(help="The account that the key belongs to.")] = "default",
    data_dir: DataDir = None,
) -> None:
    """Make a key worthless.

    Example: `tunesmith-server keys revoke key-abc`
    """
    from app.keys import account_id, revoke
    from app.log.kafka import log_of

    found = attached(data_dir)
    done = revoke(log_of(found), account, key_id)
    finished(audited(found, "revokeKey", done, account=account_id(account), target=key_id))
    print(f"{key_id} is revoked")
