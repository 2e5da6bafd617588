"""`topics`: apply, diff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from app.cli.attached import DataDir, attached, finished

if TYPE_CHECKING:
    from app.log.topic_admin import Drift

app = typer.Typer(help="Topics as declared in infra/kafka/topics.toml.", no_args_is_help=True)


@app.command("apply")
def apply_declared(data_dir: DataDir = None) -> None:
    """Make the topics that are missing; report what the others differ in.

    Example: `tunesmith-server topics apply`
    """
    from app.log import topics
    from app.log.access import access_of
    from app.log.topic_admin import apply

    found = attached(data_dir)
    _tell_drift(finished(apply(found.kafka or "", topics.declared(found.profile), access_of(found))))


@app.command("diff")
def diff(data_dir: DataDir = None) -> None:
    """Report how the broker's topics differ from the declared ones; change nothing.

    Example: `tunesmith-server topics diff`
    """
    from app.log import topics
    from app.log.access import access_of
    from app.log.topic_admin import drift

    found = attached(data_dir)
    _tell_drift(finished(drift(found.kafka or "", topics.declared(found.profile), access_of(found))))


def _tell_drift(differences: Sequence[Drift]) -> None:
    for one in differences:
        print(f"{one.topic}: {one.what} is {one.found}, declared {one.declared}")
    if differences:
        raise typer.Exit(1)
    print("all topics are as declared")
