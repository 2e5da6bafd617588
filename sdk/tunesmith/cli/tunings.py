"""`tunesmith tunings …`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import TuningClient, TuningJob
from tunesmith.cli import show
from tunesmith.cli.curve import loss_curve
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.files import upload_shown
from tunesmith.cli.pairs import hyperparameters_of, pairs_of
from tunesmith.cli.progress import show_progress
from tunesmith.cli.session import JobId, Json, connect, out, print_json, say

app = typer.Typer(help="Tuning jobs: create, watch, list, cancel, download.", no_args_is_help=True)

TRAINING_FILE = "Id of a file, or the path of one to upload."
LARGEST_PAGE = 100


@app.command("create")
def create(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", "-m", help="Id of a base model.", show_default=False)],
    training_file: Annotated[
        str, typer.Option("--training-file", "-t", help=TRAINING_FILE, show_default=False)
    ],
    validation_file: Annotated[
        str | None, typer.Option("--validation-file", "-v", help=TRAINING_FILE, show_default=False)
    ] = None,
    hyperparameter: Annotated[
        list[str] | None,
        typer.Option(
            "--hyperparameter",
            "-H",
            metavar="NAME=VALUE",
            help="Set one, such as rank=8, alpha=16, epochs=3, batch_size=4, learning_rate=2e-4, "
            "max_length=512 or use_quantization=true; can be repeated.",
            show_default=False,
        ),
    ] = None,
    suffix: Annotated[
        str | None, typer.Option(help="Part of the tuned model's name.", show_default=False)
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A pair of your own; can be repeated.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="For a run that can be repeated.", show_default=False)
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher starts first.", show_default=False)] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    json: Json = False,
) -> None:
    """Create a tuning job; the result is its id.

    For example:

    * `tunesmith tunings create -m smollm2-135m-instruct -t train.jsonl -v validation.jsonl --watch`
    * `tunesmith tunings create -m smollm2-135m-instruct -t file-abc -H rank=8 -H epochs=3 --suffix orders`
    """
    hyperparameters = hyperparameters_of(hyperparameter or [])
    labels = pairs_of(metadata or [], "--metadata")
    with connect(context) as client:
        training = _file_id(client, training_file)
        job = client.tunings.create(
            model,
            training,
            hyperparameters,
            validation_file=_file_id(client, validation_file) if validation_file else None,
            suffix=suffix,
            metadata=labels or None,
            seed=seed,
            priority=priority,
        )
        if watch:
            say(f"created {job.id}")
            _follow(client, job.id, json=json)
        elif json:
            print_json(job.to_dict())
        else:
            typer.echo(job.id)
            say(f"{job.status}; follow it with: tunesmith tunings watch {job.id}")


def _file_id(client: TuningClient, given: str) -> str:
    """The id given, or that of the file at the path given, once it is uploaded and without fault."""
    path = Path(given).expanduser()
    if not path.exists():
        if given.startswith("file-"):
            return given
        raise typer.BadParameter(f"{given!r} is neither the id of a file (file-…) nor a path that exists")
    file = upload_shown(client, path)
    if file.status == "error":
        say(f"{path} cannot be tuned on: {file.status_details}")
        say(f"see every fault with: tunesmith files check {file.id}")
        raise typer.Exit(ExitCode.FILE_FAULTY)
    return file.id


@app.command("watch")
def watch(context: typer.Context, job: JobId, json: Json = False) -> None:
    """Follow a job to its end, with its loss curve; Ctrl-C stops watching and leaves the job alone.

    Exit code 0 when it succeeds, 6 when it fails or is cancelled. With --json, one line per update.

    Example: `tunesmith tunings watch job-abc`
    """
    with connect(context) as client:
        _follow(client, job, json=json)


def _follow(client: TuningClient, job_id: str, *, json: bool) -> None:
    try:
        job = _follow_as_json(client, job_id) if json else show_progress(client, job_id, out())
    except KeyboardInterrupt:
        say(f"stopped watching; the job goes on: tunesmith tunings watch {job_id}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if not json and job.succeeded:
        say(f"made {job.fine_tuned_model}; fetch it with: tunesmith tunings download {job.id} DIR")
    if not job.succeeded:
        raise typer.Exit(ExitCode.JOB_NOT_SUCCEEDED)


def _follow_as_json(client: TuningClient, job_id: str) -> TuningJob:
    job = client.tunings.get(job_id)
    for update in client.tunings.watch(job_id):
        job = update.job
        print_json({"job": job.to_dict(), "steps": [step.to_dict() for step in update.steps]}, compact=True)
    return job


@app.command("list")
def list_jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    status: Annotated[str | None, typer.Option(help="Only those of this status.", show_default=False)] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Only those with this pair; can be repeated.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List jobs, newest first.

    Example: `tunesmith tunings list --status running`
    """
    labels = pairs_of(metadata or [], "--metadata")
    with connect(context) as client:
        every = client.tunings.iter(status=status, metadata=labels, page_size=min(limit, LARGEST_PAGE))
        jobs = list(islice(every, limit))
    if json:
        print_json([job.to_dict() for job in jobs])
    else:
        show.jobs(out(), jobs)


@app.command("get")
def get(context: typer.Context, job: JobId, json: Json = False) -> None:
    """Show one job.

    Example: `tunesmith tunings get job-abc --json`
    """
    with connect(context) as client:
        found = client.tunings.get(job)
    if json:
        print_json(found.to_dict())
    else:
        show.job(out(), found)


@app.command("metrics")
def metrics(
    context: typer.Context,
    job: JobId,
    after_step: Annotated[int, typer.Option(help="Only steps behind this one.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Show a job's loss curve, step by step.

    Example: `tunesmith tunings metrics job-abc --json`
    """
    with connect(context) as client:
        steps = list(client.tunings.metrics(job, after_step=after_step).iter())
    if json:
        print_json([step.to_dict() for step in steps])
        return
    console = out()
    show.steps(console, steps)
    losses = [step.loss for step in steps if step.loss is not None]
    for line in loss_curve(losses, min(64, console.width - 10), 6, braille="utf" in console.encoding.lower()):
        typer.echo(line)


@app.command("cancel")
def cancel(context: typer.Context, job: JobId, json: Json = False) -> None:
    """End a job at once.

    Example: `tunesmith tunings cancel job-abc`
    """
    with connect(context) as client:
        cancelled = client.tunings.cancel(job)
    if json:
        print_json(cancelled.to_dict())
    else:
        say(f"{cancelled.id} is {cancelled.status}")


@app.command("download")
def download(
    context: typer.Context,
    job: JobId,
    target: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the adapter.", show_default=False)
    ],
    json: Json = False,
) -> None:
    """Download a succeeded job's adapter into a folder, ready for PEFT.

    Example: `tunesmith tunings download job-abc ./adapter`
    """
    with connect(context) as client:
        folder = client.tunings.download_adapter(job, target)
    if json:
        print_json({"id": job, "path": str(folder)})
    else:
        typer.echo(str(folder))
