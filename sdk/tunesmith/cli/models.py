"""`tunesmith models …`."""

from __future__ import annotations

import typer

from tunesmith.cli import show
from tunesmith.cli.ids import ModelId
from tunesmith.cli.session import Json, connect, out, print_json, say

app = typer.Typer(help="Models: base models to tune, and those that tunings made.", no_args_is_help=True)


@app.command("list")
def list_models(context: typer.Context, json: Json = False) -> None:
    """List the models.

    Example: `tunesmith models list`
    """
    with connect(context) as client:
        models = list(client.models.iter())
    if json:
        print_json([model.to_dict() for model in models])
    else:
        show.models(out(), models)


@app.command("delete")
def delete(
    context: typer.Context,
    model: ModelId,
    json: Json = False,
) -> None:
    """Take a tuned model out of use; its adapter can still be had from its job.

    Example: `tunesmith models delete ft:smollm2-135m-instruct:orders:job-abc`
    """
    with connect(context) as client:
        deleted = client.models.delete(model)
    if json:
        print_json(deleted.to_dict())
    else:
        say(f"deleted {deleted.id}")


@app.command("get")
def get(
    context: typer.Context,
    model: ModelId,
    json: Json = False,
) -> None:
    """Show one model.

    Example: `tunesmith models get smollm2-135m-instruct`
    """
    with connect(context) as client:
        found = client.models.get(model)
    if json:
        print_json(found.to_dict())
    else:
        show.fields(out(), found)
