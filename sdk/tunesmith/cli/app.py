"""The command line put together: commands, common options, errors and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import typer

from tunesmith import APIError, __version__
from tunesmith._settings import DEFAULT_TIMEOUT
from tunesmith.cli import accounts, audit, files, keys, models, tunings, webhooks
from tunesmith.cli.exit_codes import MEANINGS, ExitCode, code_of
from tunesmith.cli.login import login, logout
from tunesmith.cli.session import (
    Json,
    Options,
    complain,
    complain_in_json,
    connect,
    out,
    print_json,
    tell_waits,
)
from tunesmith.cli.show import fields

EXIT_CODES = "\n".join(["Exit codes:", "", *(f"* {code.value}: {words}" for code, words in MEANINGS.items())])

app = typer.Typer(
    name="tunesmith",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
app.add_typer(files.app, name="files")
app.add_typer(tunings.app, name="tunings")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="accounts")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(audit.app, name="audit")
app.command("login")(login)
app.command("logout")(logout)

# Typer carries a click of its own or uses click, by its version: found through what it exports.
CommandLineError = cast("type[Exception]", typer.BadParameter.__mro__[2])


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tunesmith {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    base_url: Annotated[
        str | None, typer.Option(help="The service's address [TUNESMITH_BASE_URL].", show_default=False)
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Your key [TUNESMITH_API_KEY].", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.", min=0.1)] = DEFAULT_TIMEOUT,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune models with a Tunesmith service.

    Begin with `tunesmith login`, then:

    `tunesmith tunings create -m smollm2-135m-instruct -t train.jsonl --watch`
    """
    context.obj = Options(base_url, api_key, timeout)


@app.command("health")
def health(context: typer.Context, json: Json = False) -> None:
    """Show how the service and what it stands on are; exit code 1 when something is down.

    Example: `tunesmith health`
    """
    with connect(context) as client:
        found = client.health()
    if json:
        print_json(found.to_dict())
    else:
        fields(out(), found)
    if not found.ok:
        raise typer.Exit(ExitCode.FAILED)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit code. An error is one line on stderr, with `--json` one of JSON."""
    command = typer.main.get_command(app)
    tell_waits()

    def failed(code: int, type: str, message: str, more: Mapping[str, Any] | None = None) -> int:
        if "--json" in arguments:
            complain_in_json({"type": type, "message": message, **(more or {})})
        else:
            complain(message)
        return code

    try:
        code = command.main(list(arguments), prog_name="tunesmith", standalone_mode=False)
    except CommandLineError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            cast("Any", error).show()
            return ExitCode.USAGE
        return failed(ExitCode.USAGE, "usage_error", _usage(error))
    except APIError as error:
        kind = error.type or ("connection_error" if error.status_code is None else "api_error")
        return failed(code_of(error), kind, _sentence(error), _told(error))
    except typer.Abort:
        return failed(ExitCode.INTERRUPTED, "interrupted", "interrupted")
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not try to flush the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return failed(ExitCode.FAILED, "local_error", message)
    except ValueError as error:
        return failed(ExitCode.USAGE, "usage_error", str(error))
    return code if isinstance(code, int) else ExitCode.OK


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "tunesmith"
    return f"{error.format_message().rstrip('.')}; try `{where} --help`"


def _told(error: APIError) -> dict[str, Any]:
    """What the service told of an error."""
    names = ("message", "code", "param", "errors", "status_code", "request_id")
    return {name: getattr(error, name) for name in names}


def _sentence(error: APIError) -> str:
    parts = [error.message or type(error).__name__]
    parts += [str(fault.get("message")) for fault in error.errors if fault.get("message") not in parts]
    told = "; ".join(parts)
    about = [error.code] if error.code else []
    if error.request_id:
        about.append(f"request {error.request_id}")
    return f"{told} ({', '.join(about)})" if about else told
