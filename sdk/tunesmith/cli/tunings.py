"""`tunesmith tunings …`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import TuningJob
from tunesmith.cli import show
from tunesmith.cli.curve import loss_curve
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.ids import JobId
from tunesmith.cli.pairs import pairs_of
from tunesmith.cli.planning import create, estimate, preview
from tunesmith.cli.session import Json, connect, out, print_json, say
from tunesmith.cli.watching import follow, watch

app = typer.Typer(help="Tuning jobs: create, watch, steer, download.", no_args_is_help=True)

MOST_EXAMPLES = 1_000
LARGEST_PAGE = 100

app.command("create")(create)
app.command("estimate")(estimate)
app.command("preview")(preview)
app.command("watch")(watch)


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
def get(
    context: typer.Context,
    job: JobId,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="As it was at this time: Unix seconds or RFC 3339.", show_default=False
        ),
    ] = None,
    as_of_version: Annotated[
        int | None,
        typer.Option(help="As it was after its event of this version.", min=1, show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show one job, as it is or as it was.

    Example: `tunesmith tunings get job-abc --as-of-version 1`
    """
    with connect(context) as client:
        found = client.tunings.get(job, as_of=as_of, as_of_version=as_of_version)
    if json:
        print_json(found.to_dict())
    else:
        show.job(out(), found)


@app.command("events")
def events(
    context: typer.Context,
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    after: Annotated[
        str | None, typer.Option(help="Only those behind this event.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Show what happened to a job, oldest first; with --json one line per event.

    Example: `tunesmith tunings events job-abc --follow`
    """
    with connect(context) as client:
        every = (
            client.tunings.stream_events(job, after=after)
            if follow
            else client.tunings.events(job, LARGEST_PAGE, after).iter()
        )
        try:
            for event in every:
                print_json(event.to_dict(), compact=True) if json else show.event(out(), event)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


@app.command("logs")
def logs(
    context: typer.Context,
    job: JobId,
    attempt: Annotated[
        int | None, typer.Option(help="Of this attempt; of the newest otherwise.", min=1, show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Print what an attempt's training process printed, once the attempt is over.

    Example: `tunesmith tunings logs job-abc --attempt 1`
    """
    with connect(context) as client:
        log = client.tunings.logs(job, attempt)
    if json:
        print_json(log.to_dict())
        return
    if log.truncated:
        say("what was printed earlier is left out")
    typer.echo(log.text, nl=not log.text.endswith("\n"))
    if len(log.attempts or []) > 1:
        say(f"of attempt {log.attempt}; there are {', '.join(map(str, log.attempts))}")


@app.command("checkpoints")
def checkpoints(
    context: typer.Context,
    job: JobId,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List the checkpoints that a job saved, newest first.

    Example: `tunesmith tunings checkpoints job-abc`
    """
    with connect(context) as client:
        every = client.tunings.checkpoints(job, min(limit, LARGEST_PAGE)).iter()
        found = list(islice(every, limit))
    if json:
        print_json([each.to_dict() for each in found])
    else:
        show.checkpoints(out(), found)


@app.command("metrics")
def metrics(
    context: typer.Context,
    job: JobId,
    after_step: Annotated[int, typer.Option(help="Only steps behind this one.", min=0)] = 0,
    until_step: Annotated[
        int | None, typer.Option(help="Only steps up to this one.", min=0, show_default=False)
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(help="At most so many steps, thinned to keep the curve.", min=4, show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show a job's loss curve, step by step.

    Example: `tunesmith tunings metrics job-abc --points 50`
    """
    with connect(context) as client:
        page = client.tunings.metrics(job, after_step=after_step, until_step=until_step, points=points)
        steps = list(page.iter())
    if json:
        print_json([step.to_dict() for step in steps])
        return
    console = out()
    show.steps(console, steps)
    losses = [step.loss for step in steps if step.loss is not None]
    for line in loss_curve(losses, min(64, console.width - 10), 6, braille="utf" in console.encoding.lower()):
        typer.echo(line)


@app.command("examples")
def examples(
    context: typer.Context,
    job: JobId,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List training rows by their loss after training, the worst first: the ones to look at.

    Example: `tunesmith tunings examples job-abc --limit 50`
    """
    with connect(context) as client:
        found = client.tunings.examples(job, limit=min(limit, MOST_EXAMPLES))
        rows = list(found.data)
        while found.has_more and len(rows) < limit:
            most = min(limit - len(rows), MOST_EXAMPLES)
            found = client.tunings.examples(job, limit=most, after_line=rows[-1].line)
            rows += found.data
    if json:
        print_json([row.to_dict() for row in rows])
        return
    show.examples(out(), rows)
    say(f"{found.looked_at} of {found.rows} rows were looked at")


@app.command("cancel")
def cancel(context: typer.Context, job: JobId, json: Json = False) -> None:
    """End a job at once.

    Example: `tunesmith tunings cancel job-abc`
    """
    with connect(context) as client:
        _tell(client.tunings.cancel(job), json=json)


@app.command("pause")
def pause(context: typer.Context, job: JobId, json: Json = False) -> None:
    """Bring a running job to rest at a checkpoint, and free its devices.

    Example: `tunesmith tunings pause job-abc`
    """
    with connect(context) as client:
        _tell(client.tunings.pause(job), json=json)


@app.command("resume")
def resume(context: typer.Context, job: JobId, json: Json = False) -> None:
    """Let a paused job go on from its last checkpoint.

    Example: `tunesmith tunings resume job-abc`
    """
    with connect(context) as client:
        _tell(client.tunings.resume(job), json=json)


@app.command("update")
def update(
    context: typer.Context,
    job: JobId,
    priority: Annotated[int | None, typer.Option(help="Higher starts first.", show_default=False)] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Instead of all pairs so far; can be repeated.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Give a job that has not ended another priority or other metadata.

    Example: `tunesmith tunings update job-abc --priority 5`
    """
    if priority is None and metadata is None:
        raise typer.BadParameter("give --priority or --metadata")
    labels = pairs_of(metadata, "--metadata") if metadata is not None else None
    with connect(context) as client:
        changed = client.tunings.update(job, priority=priority, metadata=labels)
    if json:
        print_json(changed.to_dict())
    else:
        say(f"{changed.id} has priority {changed.priority} and metadata {changed.metadata or 'none'}")


@app.command("rerun")
def rerun(
    context: typer.Context,
    job: JobId,
    follow_it: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    json: Json = False,
) -> None:
    """Create a job that repeats another: the same model, files, hyperparameters and seed.

    Example: `tunesmith tunings rerun job-abc --watch`
    """
    with connect(context) as client:
        again = client.tunings.rerun(job)
        if follow_it:
            say(f"created {again.id}")
            follow(client, again.id, json=json)
        elif json:
            print_json(again.to_dict())
        else:
            typer.echo(again.id)
            say(f"{again.status}; follow it with: tunesmith tunings watch {again.id}")


def _tell(job: TuningJob, *, json: bool) -> None:
    if json:
        print_json(job.to_dict())
    else:
        say(f"{job.id} is {job.status}")


@app.command("download")
def download(
    context: typer.Context,
    job: JobId,
    target: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the adapter.", show_default=False)
    ],
    merged: Annotated[
        bool, typer.Option("--merged", help="The merged model, of a job created with --export merged.")
    ] = False,
    json: Json = False,
) -> None:
    """Download a succeeded job's adapter into a folder, ready for PEFT.

    Example: `tunesmith tunings download job-abc ./adapter`
    """
    with connect(context) as client:
        folder = client.tunings.download_adapter(job, target, form="merged" if merged else None)
    if json:
        print_json({"id": job, "path": str(folder)})
    else:
        typer.echo(str(folder))
