"""`tunesmith files …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from tunesmith import File, TuningClient
from tunesmith.cli import show
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.session import FileId, Json, connect, out, print_json, say

app = typer.Typer(help="Files: upload, check, list, get, delete.", no_args_is_help=True)


def upload_shown(client: TuningClient, path: Path, purpose: str = "fine-tune") -> File:
    """Upload a file with a progress bar on stderr, and wait until its check is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        with progress.open(path, "rb", description=f"Uploading {path.name}") as source:
            file = client.files.upload(source, purpose, filename=path.name)
        if file.status == "uploaded":
            progress.add_task("Waiting for its check", total=None)
            file = client.files.wait_until_processed(file.id)
    return file


@app.command("upload")
def upload(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files to upload.", exists=True, dir_okay=False)
    ],
    purpose: Annotated[str, typer.Option(help="What they are for.")] = "fine-tune",
    json: Json = False,
) -> None:
    """Upload files and have them checked; exit code 7 when one has faults.

    Example: `tunesmith files upload train.jsonl validation.jsonl`
    """
    faulty = False
    with connect(context) as client:
        for path in paths:
            file = upload_shown(client, path, purpose)
            faulty = faulty or file.status == "error"
            if json:
                print_json(file.to_dict(), compact=len(paths) > 1)
            else:
                typer.echo(file.id)
                details = f": {file.status_details}" if file.status_details else ""
                say(f"{file.filename} is {file.status}{details}")
                if file.status == "error":
                    say(f"see every fault with: tunesmith files check {file.id}")
    if faulty:
        raise typer.Exit(ExitCode.FILE_FAULTY)


@app.command("list")
def list_files(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    after: Annotated[
        str | None, typer.Option(help="Only those behind this file.", show_default=False)
    ] = None,
    purpose: Annotated[
        str | None, typer.Option(help="Only those of this purpose.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """List uploaded files, newest first.

    Example: `tunesmith files list --limit 5`
    """
    with connect(context) as client:
        files = client.files.list(limit, after, purpose=purpose)
    if json:
        print_json([file.to_dict() for file in files])
    else:
        show.files(out(), files)
        if files.has_more:
            say(f"more: tunesmith files list --limit {limit} --after {files.next_after}")


@app.command("get")
def get(
    context: typer.Context,
    file: FileId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write its content to this path.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show one file, or with --output fetch its content.

    Example: `tunesmith files get file-abc -o train.jsonl`
    """
    with connect(context) as client:
        found = client.files.get(file)
        if output is not None:
            client.files.download(file, output)
            say(f"wrote {output}")
    if json:
        print_json(found.to_dict())
    elif output is None:
        show.file(out(), found)


@app.command("check")
def check(context: typer.Context, file: FileId, json: Json = False) -> None:
    """Show every fault of a file, with line and fix, and its statistics; exit code 7 when it has faults.

    Example: `tunesmith files check file-abc`
    """
    with connect(context) as client:
        client.files.wait_until_processed(file)
        found = client.files.check(file)
    if json:
        print_json(found.to_dict())
    else:
        show.check(out(), found)
    if found.status == "error":
        raise typer.Exit(ExitCode.FILE_FAULTY)


@app.command("delete")
def delete(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Ids of files, file-….", show_default=False)
    ],
    json: Json = False,
) -> None:
    """Take files out of use; running jobs keep what they read.

    Example: `tunesmith files delete file-abc`
    """
    with connect(context) as client:
        for file in files:
            deleted = client.files.delete(file)
            if json:
                print_json(deleted.to_dict(), compact=len(files) > 1)
            else:
                say(f"deleted {deleted.id}")
