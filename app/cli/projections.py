"""`projections`: status, rebuild."""

from __future__ import annotations

import typer

from app.cli.attached import DataDir, attached, fetched, finished
from app.cli.audited import audited

app = typer.Typer(help="The read model.", no_args_is_help=True)


@app.command("status")
def status(data_dir: DataDir = None) -> None:
    """How far the read model is, by partition.

    Example: `tunesmith-server projections status`
    """
    rows = finished(
        fetched(
            attached(data_dir),
            "SELECT topic, partition, next_offset, (SELECT fingerprint FROM read.meta) AS fingerprint "
            "FROM read.checkpoints ORDER BY topic, partition",
        )
    )
    for row in rows:
        print(f"{row['topic']}[{row['partition']}]  next offset {row['next_offset']}")
    print(f"fingerprint {rows[0]['fingerprint']}" if rows else "nothing is projected yet")


@app.command("rebuild")
def rebuild_all(data_dir: DataDir = None) -> None:
    """Build the read model anew from the log, beside the serving one, then put it in its place.

    Example: `tunesmith-server projections rebuild`
    """
    from app.log.kafka import log_of
    from app.projections.read_model import prepare, rebuild

    found = attached(data_dir)

    def progress(done: int, total: int) -> None:
        typer.echo(f"\r{done} of about {total} records", nl=False, err=True)

    async def work() -> int:
        await prepare(found.database or "")
        return await rebuild(log_of(found), found.database or "", progress)

    records = finished(audited(found, "rebuildProjections", work(), target="read"))
    typer.echo("", err=True)
    print(f"the read model was built from {records} records and serves now")
