"""Ids on the command line; a shell that completes them asks the service which there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from tunesmith import APIError, TuningClient
from tunesmith.cli.session import Options, client_of

PATIENCE_SECONDS = 2.0
MOST = 50

Completed = list[tuple[str, str]]
Known = Callable[[TuningClient], Iterable[tuple[str, str]]]


def completed(known: Known) -> Callable[[typer.Context, str], Completed]:
    """What completes an id: the newest that begin so, each with a word about it; none without a service."""

    def complete(context: typer.Context, incomplete: str) -> Completed:
        given = context.find_root().params
        options = Options(given.get("base_url"), given.get("api_key"), PATIENCE_SECONDS)
        try:
            with client_of(options) as client:
                found = list(known(client.with_options(max_retries=1)))
        except (APIError, OSError, ValueError):
            return []
        return [(id, words) for id, words in found if id.startswith(incomplete)]

    return complete


jobs = completed(lambda client: ((job.id, f"{job.status} {job.model}") for job in client.tunings.list(MOST)))
files = completed(lambda client: ((file.id, file.filename) for file in client.files.list(MOST)))
models = completed(lambda client: ((model.id, model.owned_by or "") for model in client.models.list()))
keys = completed(lambda client: ((key.id, f"{key.name} {key.status}") for key in client.keys.list(MOST)))
accounts = completed(lambda client: ((one.id, one.name or "") for one in client.accounts.list(MOST)))
webhooks = completed(lambda client: ((one.id, one.url) for one in client.webhooks.list(MOST)))

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, job-….", show_default=False, autocompletion=jobs)
]
FileId = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Id of a file, file-….", show_default=False, autocompletion=files),
]
ModelId = Annotated[
    str, typer.Argument(metavar="MODEL", help="Id of a model.", show_default=False, autocompletion=models)
]
KeyId = Annotated[
    str, typer.Argument(metavar="KEY", help="Id of a key, key-….", show_default=False, autocompletion=keys)
]
AccountId = Annotated[
    str,
    typer.Argument(
        metavar="ACCOUNT", help="Id of an account, acct-….", show_default=False, autocompletion=accounts
    ),
]
WebhookId = Annotated[
    str,
    typer.Argument(
        metavar="WEBHOOK", help="Id of an endpoint, wh-….", show_default=False, autocompletion=webhooks
    ),
]
