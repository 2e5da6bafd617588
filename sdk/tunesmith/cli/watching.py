"""`tunesmith tunings watch`: a job's progress until it ends."""

from __future__ import annotations

import typer

from tunesmith import TuningClient, TuningJob
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.following import followed
from tunesmith.cli.ids import JobId
from tunesmith.cli.progress import POLL_INTERVAL, show_progress
from tunesmith.cli.session import Json, connect, out, print_json, say


def watch(context: typer.Context, job: JobId, json: Json = False) -> None:
    """Follow a job to its end, with its loss curve; Ctrl-C stops watching and leaves the job alone.

    Exit code 0 when it succeeds, 6 when it fails or is cancelled. With --json, one line per update.

    Example: `tunesmith tunings watch job-abc`
    """
    with connect(context) as client:
        follow(client, job, json=json)


def follow(client: TuningClient, job_id: str, *, json: bool) -> None:
    """Show a job's progress until it has ended, and exit as it did."""
    try:
        job = _printed(client, job_id) if json else show_progress(client, job_id, out())
    except KeyboardInterrupt:
        say(f"stopped watching; the job goes on: tunesmith tunings watch {job_id}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if not json and job.succeeded:
        say(f"made {job.fine_tuned_model}; fetch it with: tunesmith tunings download {job.id} DIR")
    if not job.succeeded:
        raise typer.Exit(ExitCode.JOB_NOT_SUCCEEDED)


def _printed(client: TuningClient, job_id: str) -> TuningJob:
    job = None
    for job, steps in followed(client, job_id, POLL_INTERVAL):
        print_json({"job": job.to_dict(), "steps": [step.to_dict() for step in steps]}, compact=True)
    assert job is not None  # following begins with the job's state
    return job
