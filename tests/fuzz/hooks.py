"""Loaded by schemathesis: what it makes up comes further than to a 404, or to the first rule no schema says.

Ids are of what there is, an Idempotency-Key is another one for another request, and most of the bodies that
create something are such as the service takes, so that other operations have something to go on with. One in
four is left as it came, and so is what was made wrong on purpose.
"""

from __future__ import annotations

import atexit
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import schemathesis
from schemathesis.core.parameters import ParameterLocation

GIVEN = json.loads(os.environ["FUZZ_GIVEN"])
MODEL, ACCOUNT, FILES = GIVEN["model"], GIVEN["account"], GIVEN["files"]
OWN = {GIVEN["key"], ACCOUNT}
KEPT = {one for pair in FILES.values() for one in pair}
ROWS = '{"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}\n' * 4
URL = "http://127.0.0.1:9/hook"
LATEST = 6

answers: defaultdict[str, Counter[int]] = defaultdict(Counter)
made: defaultdict[str, list[str]] = defaultdict(list)  # ids of what was created, by the word of its path
parts: dict[str, list[str]] = GIVEN["parts"]  # of uploads, as far as they came

atexit.register(lambda: Path(os.environ["FUZZ_ANSWERS"]).write_text(json.dumps(answers)))


@schemathesis.hook
def map_case(_: Any, case: Any) -> Any:
    """Take what is left to chance, and would only be refused for that, from what there is."""
    operation = _operation(case)
    body = case.body if isinstance(case.body, dict) else None
    mark = crc32(repr((operation, case.query, body)).encode())  # the same in each run: no id, no key
    if mark % 8:
        _another_key(case)
    if mark % 4 == 0:
        return case
    if _is_sound(case, ParameterLocation.PATH) and case.path_parameters:
        completes = operation == "completeUpload"
        known = list(parts) if completes else made[_noun(case)]
        there = known if completes else known[-LATEST:]
        if there and case.path_parameters["id"] not in known:
            # Not every upload is given up before it has its parts.
            place = 0 if operation == "cancelUpload" else mark % len(there)
            case.path_parameters = case.path_parameters | {"id": there[place]}
    if _is_sound(case, ParameterLocation.QUERY) and case.query:
        case.query = case.query | _real_query(case, mark)
    if isinstance(case.body, dict):
        if (
            operation in SOUND
            and case.meta.generation.mode.is_positive
            and case.meta.phase.name in ("fuzzing", "stateful")
        ):
            case.body = SOUND[operation](case.body, case.path_parameters)
        elif real := _real_fields(case.body):
            case.body = case.body | real
    return case


@schemathesis.hook
def filter_path_parameters(context: Any, path_parameters: Any) -> bool:
    """What all this is done with stays: the key, its account, and the files that are trained on."""
    named = set(map(str, (path_parameters or {}).values()))
    deletes = context.operation is not None and context.operation.method == "delete"
    return not named & (OWN | KEPT if deletes else OWN)


@schemathesis.hook
def after_call(_: Any, case: Any, response: Any) -> None:
    """Count the answers, and remember what was made."""
    operation = _operation(case)
    answers[operation][response.status_code] += 1
    if response.status_code != 201:
        return
    id = response.json()["id"]
    if operation == "addUploadPart":
        parts.setdefault(response.json()["upload_id"], []).append(id)
    else:
        made[_noun(case)].append(id)


def _operation(case: Any) -> str:
    return str(case.operation.definition.raw["operationId"])


def _noun(case: Any) -> str:
    """What an operation is about; a tuning is one in either face."""
    word = str(case.path).split("/")[2].partition(".")[0]
    return "tunings" if word == "fine_tuning" else word


def _is_sound(case: Any, where: ParameterLocation) -> bool:
    component = case.meta.components.get(where)
    return component is None or bool(component.mode.is_positive)


def _another_key(case: Any) -> None:
    """A few keys come again and again: all but the first request under one would be the same 409."""
    key, about = case.headers.get("Idempotency-Key"), case.meta.phase.data.parameter_location
    if key and len(key) < 200 and about != ParameterLocation.HEADER:
        case.headers["Idempotency-Key"] = f"{key}-{crc32(repr(case).encode()):x}".strip()


def _real_query(case: Any, mark: int) -> dict[str, Any]:
    real: dict[str, Any] = {}
    if "after" in case.query and (there := made[_noun(case)][-LATEST:]):
        id = there[mark % len(there)]
        real["after"] = f"{case.path_parameters['id']}:1" if case.path_parameters else id
    if "account" in case.query:
        real["account"] = ACCOUNT
    return {name: value for name, value in real.items() if isinstance(case.query[name], str)}


def _real_fields(body: dict[str, Any]) -> dict[str, Any]:
    method = body.get("method", "supervised")
    kind = method.get("type") if isinstance(method, dict) else method
    training, validation = FILES["dpo" if kind == "dpo" else "supervised"]
    real = {"model": MODEL, "training_file": training, "validation_file": validation, "account": ACCOUNT}
    real["url"] = URL
    return {name: value for name, value in real.items() if body.get(name) and isinstance(body[name], str)}


def _kept(body: Any, *names: str) -> dict[str, Any]:
    """Of a body what no other field can contradict."""
    return {name: body[name] for name in names if name in body}


def _tuning(body: Any, _: Any) -> dict[str, Any]:
    named = {"model": MODEL, "training_file": FILES["supervised"][0]}
    return named | _kept(body, "suffix", "metadata", "seed", "priority")


def _account(body: Any, _: Any) -> dict[str, Any]:
    return {"name": f"{crc32(repr(body).encode()):x} of the fuzz"} | _kept(body, "limits")


def _webhook(body: Any, _: Any) -> dict[str, Any]:
    return {"url": URL} | _kept(body, "types", "description")


def _complete(body: Any, path: Any) -> dict[str, Any]:
    return {"part_ids": parts.get(path["id"], body["part_ids"])[:1]}


SOUND: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "createTuning": _tuning,
    "createFineTuningJob": _tuning,
    "estimateTuning": _tuning,
    "previewTuning": _tuning,
    "createKey": lambda body, _: _kept(body, "name", "scopes", "expires_in"),
    "createAccount": _account,
    "createWebhook": _webhook,
    "createUpload": lambda body, _: _kept(body, "filename", "purpose", "mime_type") | {"bytes": len(ROWS)},
    "uploadFile": lambda *_: {"file": ROWS},
    "addUploadPart": lambda *_: {"data": ROWS},
    "completeUpload": _complete,
}
