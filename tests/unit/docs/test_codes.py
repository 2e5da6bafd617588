"""Every code in the sources is explained in `docs/reference/errors.md`, with its status and its blame."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

from app.api.decisions import STATUSES
from app.datasets.lines import FOREIGN
from app.domain.tunings import GIVEN_BACK, LossReason
from app.scheduler.failing import AGAINST_WORKER
from scripts.docs.errors import table_of_codes

APP = Path(__file__).parents[3] / "app"
# Whatever makes a code, and which argument it is; by folder, for names are used more than once.
MAKERS = {
    "api": {"ApiError": 1, "RequestFault": 2, "_exceeded": 0},
    "domain": {"Rejection": 0, "Failure": 0},
    "catalogue": {"ModelError": 1},
    "command_handler": {"_refused": 2},
    "datasets": {"RowFault": 0, "Fault": 1, "Finding": 2},
    "reactors": {"_refused": 0, "Fault": 1},
    "trainer_worker": {"Failed": 0, "Failure": 0, "ModelError": 1},
}
# Codes that are handed on, made elsewhere.
HANDED_ON = {"error.code", "first.code", "fault.code", "frame.code", "told.code", "decision.code", "code"}


def calls(folder: str) -> Iterator[tuple[str, ast.Call, ast.expr | None, str]]:
    """Each call that makes a code: the maker, the call, its code, and where it is."""
    for path in sorted((APP / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
                if name in MAKERS[folder]:
                    yield name, node, argument(node, MAKERS[folder][name]), f"{path.name}:{node.lineno}"


def argument(call: ast.Call, place: int) -> ast.expr | None:
    named = next((each.value for each in call.keywords if each.arg == "code"), None)
    return named or (call.args[place] if len(call.args) > place else None)


def codes_of(code: ast.expr | None, where: str) -> set[str]:
    """The codes that an argument can be; none where it is handed on."""
    if code is None:
        return {"invalid_value"}  # RequestFault's own
    if ast.unparse(code) in HANDED_ON:
        return set()
    names = {"UNSUPPORTED": "unsupported"}
    found = {names.get(node.id, "") for node in ast.walk(code) if isinstance(node, ast.Name)} - {""}
    choices = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
    choices = code.values if isinstance(code, ast.BoolOp) else choices
    texts = [each.value for each in choices if isinstance(each, ast.Constant)]
    found |= {text for text in texts if isinstance(text, str)}
    assert found, f"{where}: cannot tell which code {ast.unparse(code)!r} is; add it to this test"
    return found


@cache
def made(*folders: str) -> set[str]:
    return {
        code
        for folder in folders
        for maker, _, argument, where in calls(folder)
        if maker not in ("Failure", "Failed")
        for code in codes_of(argument, where)
    }


def test_every_code_of_the_api_is_explained_and_no_other() -> None:
    table = table_of_codes()
    explained = {each.code for each in table.request} | {each.code for each in table.internal}
    replies = {"malformed_command"}  # of a command that cannot be read
    assert explained == made("api", "domain", "command_handler") | replies


def test_each_code_has_the_statuses_that_the_api_gives_it() -> None:
    statuses: dict[str, set[int]] = {}
    for folder in ("api", "domain"):
        for maker, call, code, where in calls(folder):
            for each in codes_of(code, where):
                status = call.args[0] if maker == "ApiError" else None
                if isinstance(status, ast.Constant):
                    statuses.setdefault(each, set()).add(int(str(status.value)))
                elif maker == "RequestFault":
                    statuses.setdefault(each, set()).add(400)
                elif maker == "Rejection":
                    statuses.setdefault(each, set()).add(STATUSES.get(each, 400))
                elif maker == "_exceeded":
                    statuses.setdefault(each, set()).add(429)
    told = {each.code: set(each.status) for each in table_of_codes().request}
    wrong = {code: found for code, found in statuses.items() if code in told and found - told[code]}
    assert not wrong


def test_every_failure_of_a_tuning_is_explained_with_whose_fault_it_is() -> None:
    found: dict[str, set[tuple[str, bool]]] = {}
    for folder in ("domain", "trainer_worker"):
        for maker, call, code, where in calls(folder):
            # `Failed` is an event as well, of an attempt's number; the frame of a child begins with a code.
            if maker in ("Failure", "Failed") and isinstance(code, ast.Constant):
                [each] = codes_of(code, where)
                blame = call.args[1]
                assert isinstance(blame, ast.Constant), where
                retryable = any(word.arg == "retryable" for word in call.keywords)
                found.setdefault(each, set()).add((str(blame.value), retryable))
    for maker, call, code, where in (*calls("catalogue"), *calls("trainer_worker")):
        if maker != "ModelError":
            continue
        retryable = any(word.arg == "retryable" for word in call.keywords)
        for each in codes_of(code, where) if code is not None else {"model_unreadable"}:
            found.setdefault(each, set()).add(("platform", retryable))
    assert {each.code: {(each.blame, each.retryable)} for each in table_of_codes().failure} == found


def test_every_fault_of_a_file_is_explained() -> None:
    table = table_of_codes()
    # An overlap is told by an estimate as well; files of another kind stand in a table.
    others = {code for _, code, *_ in FOREIGN} | {"validation_overlap"}
    assert {each.code for each in table.row} == made("datasets", "reactors") | others
    warnings = {
        code
        for _, call, argument, where in calls("datasets")
        if any(word.arg == "warning" and ast.unparse(word.value) == "True" for word in call.keywords)
        for code in codes_of(argument, where)
    }
    warnings |= {"duplicate_row", "validation_overlap"}  # by where they are told
    assert {each.code for each in table.row if each.warning} == warnings


def test_every_reason_that_an_attempt_is_lost_for_is_explained() -> None:
    lost = table_of_codes().lost
    assert {each.code for each in lost} == set(get_args(LossReason))
    assert {each.code for each in lost if not each.costs_a_retry} == GIVEN_BACK
    assert {each.code for each in lost if each.against_worker} == AGAINST_WORKER


def test_no_code_is_explained_twice() -> None:
    table = table_of_codes()
    for rows in (table.request, table.failure, table.row, table.internal):
        codes = [each.code for each in rows]
        assert sorted(set(codes)) == sorted(codes)
