"""The program: every command in its place."""

from __future__ import annotations

import typer

from app.cli import accounts, acls, keys, log, models, projections, service, topics, users, workers

app = typer.Typer(
    help="A fine-tuning service for a team's own machines. `up` runs all of it here, `run` single roles.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (service.up, service.run, service.settings):
    app.command()(command)
for name, group in (
    ("topics", topics.app),
    ("users", users.app),
    ("acls", acls.app),
    ("keys", keys.app),
    ("accounts", accounts.app),
    ("projections", projections.app),
    ("log", log.app),
    ("models", models.app),
    ("workers", workers.app),
):
    app.add_typer(group, name=name)


def main() -> None:
    """The entry point."""
    app()
