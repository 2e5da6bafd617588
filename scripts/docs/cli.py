"""`cli.md`: the commands `tunesmith` and `tunesmith-server`, from their own help."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from tunesmith.cli.app import app as user_app
from tunesmith.cli.exit_codes import MEANINGS

from app.cli.program import app as operator_app
from scripts.docs.markdown import anchor, code, page, prose, table

INTRODUCTION = """\
`tunesmith` is for users (`pip install 'tunesmith[cli]'`), `tunesmith-server` for operators. `--help` on
each command says the same. Results go to stdout, remarks and errors to stderr; with `--json` the result is
JSON. An error is one line, with its [code](errors.md) and the request's id; with `--json` that line is
`{"error": {"type", "message", "code", "param", …}}`.

`tunesmith` finds the service and the key by its options, then `TUNESMITH_BASE_URL` and `TUNESMITH_API_KEY`,
then what `tunesmith login` stored. `tunesmith-server` takes [settings](settings.md) from the environment;
its commands attach to the `up` that runs on `--data-dir`, or use `TUNESMITH_KAFKA` and
`TUNESMITH_DATABASE`."""
TYPES = {int: "integer", float: "number", bool: "true or false", Path: "path"}
UNSHOWN = ("help", "install_completion", "show_completion")
SERVER_CODES = {
    0: "done; of `up` and `run`: they were told to stop",
    1: "it could not be done, or what was asked about is not as it should be: the log, topics, rights",
    2: "the command line is wrong",
    130: "interrupted",
}


def text() -> str:
    """The page."""
    codes = {
        "tunesmith": {code.value: meaning for code, meaning in MEANINGS.items()},
        "tunesmith-server": SERVER_CODES,
    }
    commands = {
        name: typer.main.get_command(app)
        for name, app in (("tunesmith", user_app), ("tunesmith-server", operator_app))
    }
    parts = [INTRODUCTION]
    for name, command in commands.items():
        found = list(_commands(name, command))
        parts += [f"## {name}", prose(command.help), _options(command)]
        parts.append(table(("command", "what it does"), [_line(path, one) for path, one in found]))
        parts += [
            "Exit codes:",
            table(("exit code", "meaning"), [(str(k), v) for k, v in codes[name].items()]),
        ]
        parts += [_command(path, one) for path, one in found]
    return page("CLI reference", "the commands' own help", *parts)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command below a group, with the words that call it."""
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _commands(f"{path} {name}", inner)
        elif not inner.hidden:
            yield f"{path} {name}", inner


def _line(path: str, command: Any) -> tuple[str, str]:
    first = prose(command.help).partition("\n\n")[0].partition(". ")[0]
    return f"[{path}](#{anchor(path)})", first.rstrip(".")


def _command(path: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([path, "[OPTIONS]", *(_placeholder(each) for each in arguments)])
    parts = [f"### {path}", f"```text\n{usage}\n```", prose(command.help)]
    rows = [(code(_placeholder(each)), _kind(each), getattr(each, "help", None) or "") for each in arguments]
    parts += [table(("argument", "type", "meaning"), rows), _options(command)]
    return "\n\n".join(part for part in parts if part)


def _placeholder(argument: Any) -> str:
    told = (argument.metavar or argument.name.upper()).strip("[]").removesuffix("...")
    told = f"{told}..." if argument.nargs == -1 else told
    return told if argument.required else f"[{told}]"


def _options(command: Any) -> str:
    rows = [
        (
            ", ".join(code(name) for name in [*each.opts, *each.secondary_opts]),
            _kind(each),
            _default(each),
            each.help,
        )
        for each in command.params
        if each.param_type_name == "option" and not each.hidden and each.name not in UNSHOWN
    ]
    return table(
        ("option", "type", "default", "meaning"), [tuple(cell or "" for cell in row) for row in rows]
    )


def _kind(parameter: Any) -> str:
    """What may be given: its metavar, else its type; with bounds."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    annotation = parameter.type_descriptor.annotation
    inner = typing.get_args(annotation) or (annotation,)
    told = [parameter.metavar if parameter.metavar and _is_option(parameter) else TYPES.get(inner[0], "text")]
    for bound, sign in ((parameter.min, "≥"), (parameter.max, "≤")):
        if bound is not None:
            told.append(f"{sign} {bound}")
    return ", ".join(told)


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = isinstance(parameter.default, (int, float, str)) and parameter.default not in (False, "")
    return code(parameter.default) if shown else ""
