"""`tunesmith files …`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from tunesmith import (
    APIConnectionError,
    File,
    FileCheck,
    ServerError,
    TimeoutError,
    TuningClient,
    TuningEstimate,
)
from tunesmith._uploads import LARGEST_IN_ONE_PIECE
from tunesmith.cli import ids, show, show_planning
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.findings import faulty, whole
from tunesmith.cli.session import Json, connect, out, print_json, say

FAULTS_A_PAGE = 1000
COPIED = "was uploaded as {id}; remove it with: tunesmith files delete {id}"

app = typer.Typer(help="Files: upload, check, list, get, delete.", no_args_is_help=True)


def upload_shown(
    client: TuningClient, path: Path, purpose: str = "fine-tune", resume: str | None = None
) -> File:
    """Upload a file with a progress bar on stderr, and wait until its check is done."""
    size = path.stat().st_size
    if resume is None and size > LARGEST_IN_ONE_PIECE:
        # Announced here and not by `upload`, so that whatever breaks it off, the id is known.
        resume = client.uploads.create(path.name, size, purpose).id
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            sending = progress.add_task(f"Uploading {path.name}", total=size)
            file = client.files.upload(
                path,
                purpose,
                resume=resume,
                on_progress=lambda sent, _: progress.update(sending, completed=sent),
            )
            if file.status == "uploaded":
                progress.add_task("Waiting for its check", total=None)
                file = client.files.wait_until_processed(file.id)
    except (KeyboardInterrupt, APIConnectionError, TimeoutError, ServerError):
        if resume is not None:
            say(f"go on with: tunesmith files upload {path} --resume {resume}")
        raise
    return file


@app.command("upload")
def upload(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files to upload.", exists=True, dir_okay=False)
    ],
    purpose: Annotated[str, typer.Option(help="What they are for.")] = "fine-tune",
    resume: Annotated[
        str | None,
        typer.Option(help="Id of the upload of this one file to go on with.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Upload files and have them checked; exit code 7 when one has faults.

    Files of more than 64 MiB go up in parts; when that breaks off, it says how to go on.

    Example: `tunesmith files upload train.jsonl validation.jsonl`
    """
    if resume is not None and len(paths) > 1:
        raise typer.BadParameter("--resume goes on with one file: give its path alone")
    faulty = False
    with connect(context) as client:
        for path in paths:
            file = upload_shown(client, path, purpose, resume)
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
    file: ids.FileId,
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
def check(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Id of a file, or the path of one, which is uploaded.", show_default=False
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Look at every row as this model reads it, too.", show_default=False
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="supervised or dpo; with --model, by the file's format otherwise.", show_default=False
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(help="Where the model's rows are cut, in tokens; with --model.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show every fault of a file, with line and fix, and its statistics; exit code 7 when it has faults.

    With --model also what depends on the model: rows that are cut, and rows with nothing left to learn.

    Example: `tunesmith files check train.jsonl --model smollm2-135m-instruct`
    """
    if model is None and (method is not None or max_length is not None):
        raise typer.BadParameter("--method and --max-length go with --model")
    with connect(context) as client:
        path = Path(file).expanduser()
        if path.exists():
            file = upload_shown(client, path).id
            say(f"{path} {COPIED.format(id=file)}")
        client.files.wait_until_processed(file)
        found = _whole_check(client, file)
        sound = found.status != "error"
        if not json:
            show.check(out(), found)
        estimate = None
        try:
            if model is not None and sound:
                estimate = _estimate(client, model, found, method, max_length)
        finally:  # whatever comes of the estimate, the check is told
            if json:
                print_json(found.to_dict() | ({"estimate": estimate.to_dict()} if estimate else {}))
    if estimate is not None and not json:
        show_planning.measured(out(), estimate)
    elif model is not None and not json:
        say(f"rows are read as {model} does once these faults are mended")
    if not sound or (estimate is not None and faulty(estimate.findings)):
        raise typer.Exit(ExitCode.FILE_FAULTY)


def _estimate(
    client: TuningClient, model: str, found: FileCheck, method: str | None, max_length: int | None
) -> TuningEstimate:
    """A file as a model reads it, by the method that trains on such files."""
    if method is None and found.format == "preference":
        method = "dpo"
    hyperparameters = {"max_length": max_length} if max_length is not None else None
    return whole(partial(client.tunings.estimate, model, found.id, hyperparameters, method=method))


def _whole_check(client: TuningClient, file: str) -> FileCheck:
    """What a check found, every page of it."""
    found = page = client.files.check(file, limit=FAULTS_A_PAGE)
    after = 0
    while page.has_more and (page.faults or page.warnings):
        after += FAULTS_A_PAGE
        page = client.files.check(file, limit=FAULTS_A_PAGE, after=after)
        for name in ("faults", "warnings"):
            found[name] = [*(found.get(name) or []), *(page.get(name) or [])]
        found["has_more"] = bool(page.has_more)
    return found


@app.command("delete")
def delete(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Ids of files, file-….", show_default=False, autocompletion=ids.files
        ),
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
