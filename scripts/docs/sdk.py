"""`sdk.md`: the public surface of `tunesmith`, from its signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Any

import tunesmith

from scripts.docs.markdown import code, page, table

INTRODUCTION = """\
`from tunesmith import TuningClient` and, with coroutines, `AsyncTuningClient`: the same methods with the
same arguments, `await` before each call and `async for` over iterators (`AsyncPage`, `AsyncTuningJob` and
`AsyncTuningUpdate` are their `Page`, `TuningJob` and `TuningUpdate`). Everything has types. How to use it
is in the [guide](../index.md); the routes behind it are in the [REST reference](rest.md)."""
RESOURCES = ("tunings", "files", "uploads", "models", "keys", "accounts", "webhooks", "audit")
ANSWERS = """\
What methods give. Fields of a newer service are kept and read by their name (`job.new_field`,
`job["new_field"]`); a field that the service left out reads as `None`. `to_dict()` gives the answer as it
came."""
ERRORS = """\
All under `APIError`, with `message`, `status_code`, `code`, `param`, `request_id` and `errors` (every fault
of the request). [Errors](errors.md) says what each `code` means and what to do."""
SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$", re.MULTILINE)


def text() -> str:
    """The page."""
    client = tunesmith.TuningClient("sk-none", "http://localhost:8000")
    resources = {name: type(getattr(client, name)) for name in RESOURCES}
    client.close()
    public = {name: getattr(tunesmith, name) for name in tunesmith.__all__}
    classes = {name: kind for name, kind in public.items() if inspect.isclass(kind)}
    twins = {name for name in classes if name.startswith("Async")}
    errors = {name: kind for name, kind in classes.items() if issubclass(kind, Exception)}
    main = {"TuningClient", "TuningJob", "TuningUpdate", "Page"}
    answers = [name for name in classes if name not in {*twins, *errors, *main}]
    parts = [INTRODUCTION, "## The client", _class("TuningClient", tunesmith.TuningClient)]
    for name, kind in resources.items():
        parts += [f"## client.{name}", *_methods(kind, f"client.{name}.")]
    parts += [
        "## A job",
        _class("TuningJob", tunesmith.TuningJob),
        _class("TuningUpdate", public["TuningUpdate"]),
    ]
    parts += ["## Pages", _class("Page", tunesmith.Page)]
    parts += ["## Functions and values"]
    parts += [
        _method(name, value, "tunesmith.") if inspect.isfunction(value) else _value(name)
        for name, value in public.items()
        if not inspect.isclass(value) and name in (*_functions(public), "HYPERPARAMETERS")
    ]
    parts += ["## Answers", ANSWERS, *(_class(name, classes[name]) for name in answers)]
    parts += ["## Exceptions", ERRORS, _tree(errors)]
    return page("SDK reference", "the docstrings of `sdk/tunesmith`", *parts)


def _functions(public: dict[str, Any]) -> list[str]:
    return [name for name, value in public.items() if inspect.isfunction(value)]


def _value(name: str) -> str:
    return f"### {name}\n\nEvery hyperparameter, as [Hyperparameters](hyperparameters.md) has them."


def _class(name: str, kind: type) -> str:
    parts = [f"### {name}", _doc(kind), _fields(kind)]
    if (made := _signature(name, kind)) and "Client" in name:
        parts.insert(1, made)
    return "\n\n".join(part for part in [*parts, *_methods(kind, "")] if part)


def _fields(kind: type) -> str:
    rows = []
    for owner in reversed(kind.__mro__):
        if owner.__module__.startswith("tunesmith"):
            rows += [
                (code(name), code(_annotation(annotation)))
                for name, annotation in inspect.get_annotations(owner).items()
                if not name.startswith("_") and not str(annotation).startswith("ClassVar")
            ]
    rows += [
        (code(name), _doc(member))
        for name, member in vars(kind).items()
        if isinstance(member, property) and not name.startswith("_")
    ]
    return table(("field", "type"), rows)


def _methods(kind: type, prefix: str) -> Iterator[str]:
    for name, member in vars(kind).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod)):
            yield _method(name, member, prefix)


def _method(name: str, function: Any, prefix: str) -> str:
    function = getattr(function, "__func__", function)
    heading = f"#### {prefix}{name}" if prefix != "tunesmith." else f"### {name}"
    forms = typing.get_overloads(function) or [function]
    shown = "\n".join(_plain(name, form) for form in forms)
    return "\n\n".join([heading, f"```text\n{shown}\n```", _doc(function)])


def _signature(name: str, kind: type) -> str:
    return f"```text\n{_plain(name, kind.__init__)}\n```"  # type: ignore[misc]


def _plain(name: str, function: Callable[..., Any]) -> str:
    """A signature on as few lines as fit."""
    signature = inspect.signature(function)
    given: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(part.startswith("*") for part in given):
            given.append("*")
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        annotation = parameter.annotation
        told = "" if annotation is parameter.empty else f": {_annotation(annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        given.append(f"{stars}{parameter.name}{told}{default}")
    returned = signature.return_annotation
    end = "" if returned in (signature.empty, None, "None") else f" -> {_annotation(returned)}"
    line = f"{name}({', '.join(given)}){end}"
    if len(line) <= 100:
        return line
    inside = "".join(f"    {part},\n" for part in given)
    return f"{name}(\n{inside}){end}"


def _annotation(annotation: Any) -> str:
    told = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return told.replace("builtins.", "")


def _default(value: Any) -> str:
    if callable(value):
        return f"{value.__name__}"
    return "..." if value is ... else repr(value)


def _doc(member: Any) -> str:
    """A docstring: its paragraphs, then its sections as lists."""
    parts = SECTION.split(inspect.cleandoc(member.__doc__ or ""))
    told = [_paragraphs(parts[0])]
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        told.append(f"{name}:\n\n" + "\n".join(_entries(body)))
    return "\n\n".join(part for part in told if part)


def _paragraphs(text: str) -> str:
    """Paragraphs as they are; those that are set in are code."""
    shown = []
    for paragraph in text.strip("\n").split("\n\n"):
        if all(line.startswith("    ") for line in paragraph.splitlines() if line):
            shown.append(f"```text\n{textwrap.dedent(paragraph)}\n```" if paragraph.strip() else "")
        else:
            shown.append(paragraph.strip("\n"))
    return "\n\n".join(part for part in shown if part)


def _entries(body: str) -> list[str]:
    """`name: meaning` lines of a section, each with the lines that are set in below it."""
    entries: list[str] = []
    for line in inspect.cleandoc(body).splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += f" {line.strip()}"
        elif line.strip():
            name, colon, meaning = line.partition(":")
            entries.append(f"- `{name}`:{meaning}" if colon and " " not in name else f"- {line}")
    return entries


def _tree(errors: dict[str, type]) -> str:
    rows = []
    for name, kind in errors.items():
        above = [base.__name__ for base in kind.__mro__[1:] if issubclass(base, Exception)]
        first = above[0] if above else ""
        rows.append((code(name), code(first), inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]))
    return table(("exception", "is a", "when"), rows)
