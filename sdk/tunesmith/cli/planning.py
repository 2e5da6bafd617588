"""`tunesmith tunings create|estimate|preview`: what a job would be, and the job itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith import TuningClient
from tunesmith.cli import show_planning
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.files import COPIED, upload_shown
from tunesmith.cli.findings import faulty, whole
from tunesmith.cli.options import Method, Model, TrainingFile, ValidationFile, with_hyperparameters
from tunesmith.cli.pairs import pairs_of
from tunesmith.cli.session import Json, connect, out, print_json, say
from tunesmith.cli.watching import follow


@with_hyperparameters
def create(
    context: typer.Context,
    model: Model,
    training_file: TrainingFile,
    validation_file: ValidationFile = None,
    method: Method = None,
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
    preview_hash: Annotated[
        str | None,
        typer.Option(help="Of a preview: train on exactly that, or fail.", show_default=False),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(help="`merged`: make a model that needs no PEFT as well.", show_default=False),
    ] = None,
    example_losses: Annotated[
        int | None,
        typer.Option(
            help="Of how many rows at most to tell the loss: `tunings examples`.", min=0, show_default=False
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    *,
    hyperparameters: dict[str, Any],
    json: Json = False,
) -> None:
    """Create a tuning job; the result is its id.

    For example:

    * `tunesmith tunings create -m smollm2-135m-instruct -t train.jsonl -v validation.jsonl --watch`
    * `tunesmith tunings create -m smollm2-135m-instruct -t file-abc --rank 8 --epochs 3 --suffix orders`
    """
    labels = pairs_of(metadata or [], "--metadata")
    with connect(context) as client:
        job = client.tunings.create(
            model,
            file_id(client, training_file),
            hyperparameters,
            validation_file=file_id(client, validation_file) if validation_file else None,
            method=method,
            suffix=suffix,
            metadata=labels or None,
            seed=seed,
            priority=priority,
            preview_hash=preview_hash,
            export=export,
            example_losses=example_losses,
        )
        if watch:
            say(f"created {job.id}")
            follow(client, job.id, json=json)
        elif json:
            print_json(job.to_dict())
        else:
            typer.echo(job.id)
            say(f"{job.status}; follow it with: tunesmith tunings watch {job.id}")


@with_hyperparameters
def estimate(
    context: typer.Context,
    model: Model,
    training_file: TrainingFile,
    validation_file: ValidationFile = None,
    method: Method = None,
    *,
    hyperparameters: dict[str, Any],
    json: Json = False,
) -> None:
    """Show what a job would need: tokens, steps, memory, time, and which workers it fits. Nothing is created.

    Exit code 7 when rows cannot be trained on with this model.

    Example: `tunesmith tunings estimate -m smollm2-135m-instruct -t train.jsonl --rank 8`
    """
    with connect(context) as client:
        training, validation = _files(client, training_file, validation_file)
        asked = partial(
            client.tunings.estimate,
            model,
            training,
            hyperparameters,
            validation_file=validation,
            method=method,
        )
        found = whole(asked)
    if json:
        print_json(found.to_dict())
    else:
        show_planning.estimate(out(), found)
    if faulty(found.findings):
        raise typer.Exit(ExitCode.FILE_FAULTY)


@with_hyperparameters
def preview(
    context: typer.Context,
    model: Model,
    training_file: TrainingFile,
    validation_file: ValidationFile = None,
    method: Method = None,
    first: Annotated[
        int | None,
        typer.Option(help="How many rows to show; 3 otherwise.", min=0, max=20, show_default=False),
    ] = None,
    lines: Annotated[
        list[int] | None,
        typer.Option("--line", help="Show the row at this line; can be repeated.", show_default=False),
    ] = None,
    *,
    hyperparameters: dict[str, Any],
    json: Json = False,
) -> None:
    """Show what a job would be trained on, token by token: what is learned in green, what is cut struck out.

    Away from a terminal, learned tokens stand between ⟦ and ⟧. The hash holds a job to exactly this: `create
    --preview-hash`. Nothing is created.

    Example: `tunesmith tunings preview -m smollm2-135m-instruct -t train.jsonl --line 7`
    """
    with connect(context) as client:
        training, validation = _files(client, training_file, validation_file)
        asked = partial(
            client.tunings.preview,
            model,
            training,
            hyperparameters,
            validation_file=validation,
            method=method,
            first=first,
            lines=lines or None,
        )
        found = whole(asked)
    if json:
        print_json(found.to_dict())
    else:
        show_planning.preview(out(), found, only_rows=bool(lines))
    if faulty(found.findings):
        raise typer.Exit(ExitCode.FILE_FAULTY)


def _files(client: TuningClient, training: str, validation: str | None) -> tuple[str, str | None]:
    """The ids of files that are only looked at; of a copy that was made it is told how to remove it."""
    first = file_id(client, training, COPIED)
    return first, file_id(client, validation, COPIED) if validation else None


def file_id(client: TuningClient, given: str, how: str = "is {id}") -> str:
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
    say(f"{path} {how.format(id=file.id)}")
    return file.id
