"""`errors.md`: every code that a request, a tuning or a file's check can end with, from `errors.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from app.api.codes import NAMES, PATH, Refusal
from scripts.docs.markdown import code, page, table


class Failure(Struct, frozen=True, forbid_unknown_fields=True):
    """A code that a tuning fails with: whose fault it was, and whether the same tuning may go well again."""

    code: str
    blame: str
    meaning: str
    do: str
    retryable: bool = False


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """A code of a file's check, or of an estimate: a fault, or a warning, which stops nothing."""

    code: str
    meaning: str
    do: str
    warning: bool = False


class Lost(Struct, frozen=True, forbid_unknown_fields=True):
    """Why an attempt was lost, whether another one follows, and whether that uses up a retry.

    Several in a row that tell `against_worker` set the worker aside.
    """

    code: str
    meaning: str
    retryable: bool
    costs_a_retry: bool
    against_worker: bool = False


class Internal(Struct, frozen=True, forbid_unknown_fields=True):
    """What the service's parts tell each other."""

    code: str
    meaning: str


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """Every code there is. `internal` are those that the service's parts tell each other, and nobody else."""

    request: tuple[Refusal, ...]
    failure: tuple[Failure, ...]
    row: tuple[Row, ...]
    lost: tuple[Lost, ...]
    internal: tuple[Internal, ...]


INTRODUCTION = """\
Every refusal is `{"error": {"type", "message", "code", "param"}}`. The message says what is wrong here and
now and what to do; `code` is stable and for programs; `param` names what it is about. A request with
several faults has them all in `error.errors`, each with its own code. The SDK raises [an
exception](sdk.md#exceptions) with the same fields.

Send again by itself: 408, 429, 500, 503 and broken connections, after `Retry-After` and with an
`Idempotency-Key`, unless the answer has `x-should-retry: false`. The SDK does so."""
FAILED = """\
A tuning that fails has `error` with `type`, `code`, `message`, `param` and `retryable`. The type is
`invalid_request_error` when something about the request must change, else `server_error`. `retryable` says
that the same tuning may go well when it is created again. The log of the attempt (`tunesmith tunings logs
JOB`) has more."""
CHECKED = """\
`GET /v1/files/{id}/check` has them with line, JSON pointer, message and a proposed fix; `tunings.estimate`
those that depend on the model. A file with a fault cannot be trained on. A warning stops nothing."""
LOST = """\
An attempt is lost when its worker, its process or its devices are. The tuning goes on from the last
checkpoint on another attempt; after four losses that cost a retry it fails with `attempts_exhausted`. The
event `attempt_lost` has the reason. A worker on which three tunings in a row are lost or fail alike, for a
reason that tells against it, is set aside until it starts anew or the operator takes it back."""


def table_of_codes() -> Table:
    """What `errors.toml` holds."""
    return msgspec.convert(tomllib.loads(PATH.read_text()), Table)


def text() -> str:
    """The page."""
    known = table_of_codes()
    parts = [INTRODUCTION, "## Refused requests"]
    for status, name in NAMES.items():
        found = [each for each in known.request if status in each.status]
        parts += [f"### {status}", f"{name[0].upper()}{name[1:]}.", _explained(found)]
    failures = [
        (code(each.code), each.blame, "yes" if each.retryable else "no", each.meaning, each.do)
        for each in sorted(known.failure, key=lambda each: each.code)
    ]
    head = ("code", "whose fault", "retryable", "meaning", "what to do")
    parts += ["## Failed tunings", FAILED, table(head, failures)]
    parts += ["## Faults of files", CHECKED, _explained(each for each in known.row if not each.warning)]
    parts += ["## Warnings about files", _explained(each for each in known.row if each.warning)]
    lost = [
        (code(each.code), *map(_yes, (each.retryable, each.costs_a_retry, each.against_worker)), each.meaning)
        for each in known.lost
    ]
    head = ("reason", "retryable", "costs a retry", "tells against the worker", "meaning")
    parts += ["## Lost attempts", LOST, table(head, lost)]
    return page("Errors", "`app/api/errors.toml`", *parts)


def _yes(so: bool) -> str:
    return "yes" if so else "no"


def _explained(codes: Iterable[Refusal | Row]) -> str:
    rows = [(code(each.code), each.meaning, each.do) for each in codes]
    return table(("code", "meaning", "what to do"), rows)
