"""`tunesmith webhooks …`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from tunesmith import WebhookEndpoint
from tunesmith.cli import show_webhooks
from tunesmith.cli.exit_codes import ExitCode
from tunesmith.cli.ids import WebhookId
from tunesmith.cli.session import Json, Limit, connect, out, print_json, say

app = typer.Typer(help="Webhooks: addresses of yours that are told of events.", no_args_is_help=True)

Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type", help="Of which events, such as tuning.succeeded; can be repeated.", show_default=False
    ),
]
Description = Annotated[str | None, typer.Option(help="A note of your own.", show_default=False)]


@app.command("create")
def create(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events go.", show_default=False)],
    types: Types = None,
    description: Description = None,
    json: Json = False,
) -> None:
    """Have events sent to an address. The secret that signs them is printed now and never again.

    Example: `tunesmith webhooks create https://ci.example/hook --type tuning.succeeded`
    """
    with connect(context) as client:
        made = client.webhooks.create(url, types or None, description=description)
    _tell_secret(made, json=json)


@app.command("list")
def list_webhooks(context: typer.Context, limit: Limit = 20, json: Json = False) -> None:
    """List the account's endpoints, newest first.

    Example: `tunesmith webhooks list`
    """
    with connect(context) as client:
        endpoints = list(islice(client.webhooks.iter(page_size=min(limit, 100)), limit))
    if json:
        print_json([endpoint.to_dict() for endpoint in endpoints])
    else:
        show_webhooks.webhooks(out(), endpoints)


@app.command("get")
def get(context: typer.Context, webhook: WebhookId, json: Json = False) -> None:
    """Show one endpoint.

    Example: `tunesmith webhooks get wh-abc`
    """
    with connect(context) as client:
        _tell(client.webhooks.get(webhook), json=json)


@app.command("update")
def update(
    context: typer.Context,
    webhook: WebhookId,
    url: Annotated[str | None, typer.Option(help="Where events go.", show_default=False)] = None,
    types: Types = None,
    description: Description = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Whether it is told of events.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Change what is given and leave the rest.

    Example: `tunesmith webhooks update wh-abc --disable`
    """
    if url is None and not types and description is None and enabled is None:
        raise typer.BadParameter("give --url, --type, --description, --enable or --disable")
    with connect(context) as client:
        changed = client.webhooks.update(
            webhook, url=url, types=types or None, description=description, enabled=enabled
        )
    _tell(changed, json=json)


@app.command("delete")
def delete(context: typer.Context, webhook: WebhookId, json: Json = False) -> None:
    """Send an endpoint nothing more, and forget it.

    Example: `tunesmith webhooks delete wh-abc`
    """
    with connect(context) as client:
        deleted = client.webhooks.delete(webhook)
    print_json(deleted.to_dict()) if json else say(f"deleted {deleted.id}")


@app.command("rotate")
def rotate(
    context: typer.Context,
    webhook: WebhookId,
    keep_seconds: Annotated[
        int | None,
        typer.Option(
            help="How long requests are signed with the old secret as well; a day otherwise.",
            min=0,
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Sign with a new secret, which is printed now and never again.

    Example: `tunesmith webhooks rotate wh-abc`
    """
    with connect(context) as client:
        rotated = client.webhooks.rotate(webhook, keep_seconds=keep_seconds)
    _tell_secret(rotated, json=json)


@app.command("test")
def send_test(context: typer.Context, webhook: WebhookId, json: Json = False) -> None:
    """Send a test event now and show how that went; exit code 1 when it was not taken.

    Example: `tunesmith webhooks test wh-abc`
    """
    with connect(context) as client:
        delivery = client.webhooks.test(webhook)
    if json:
        print_json(delivery.to_dict())
    else:
        show_webhooks.delivery(out(), delivery)
    if delivery.status != "delivered":
        raise typer.Exit(ExitCode.FAILED)


@app.command("deliveries")
def deliveries(context: typer.Context, webhook: WebhookId, limit: Limit = 20, json: Json = False) -> None:
    """List what was sent to an endpoint or is still tried, newest first; --json has requests and answers.

    Example: `tunesmith webhooks deliveries wh-abc`
    """
    with connect(context) as client:
        found = list(islice(client.webhooks.deliveries(webhook, min(limit, 100)).iter(), limit))
    if json:
        print_json([delivery.to_dict() for delivery in found])
    else:
        show_webhooks.deliveries(out(), found)


@app.command("replay")
def replay(
    context: typer.Context,
    webhook: WebhookId,
    after: Annotated[
        str | None, typer.Option(help="Id of an event: those that came later.", show_default=False)
    ] = None,
    since: Annotated[
        int | None, typer.Option(help="Unix seconds: events from then on.", min=0, show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Send past events once more.

    Example: `tunesmith webhooks replay wh-abc --after job-abc:3`
    """
    if (after is None) == (since is None):
        raise typer.BadParameter("give --after or --since, one of the two")
    queued, last = 0, None
    with connect(context) as client:
        while True:
            answer = client.webhooks.replay(webhook, after=last or after, since=None if last else since)
            queued, last = queued + answer.queued, answer.last_event
            if not answer.has_more or last is None:
                break
    if json:
        print_json({**answer.to_dict(), "queued": queued})
    else:
        say(f"queued {queued} deliveries")


def _tell(endpoint: WebhookEndpoint, *, json: bool) -> None:
    if json:
        print_json(endpoint.to_dict())
    else:
        show_webhooks.webhook(out(), endpoint)


def _tell_secret(endpoint: WebhookEndpoint, *, json: bool) -> None:
    if json:
        print_json(endpoint.to_dict())
        return
    typer.echo(endpoint.secret or "")
    say(f"{endpoint.id} is signed with this secret; keep it now, for it is not shown again")
