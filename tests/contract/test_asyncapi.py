"""The AsyncAPI document is current, holds together, and tells what would break others."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from msgspec import json

from app.domain.streams import STREAMS
from app.log.upcasters import UPCASTERS
from scripts.asyncapi.__main__ import PATH, text_of
from scripts.asyncapi.changes import changes
from scripts.asyncapi.document import document
from tests.contract.golden import FOLDER, record_of

Document = dict[str, Any]


@pytest.fixture
def today() -> Document:
    return copy.deepcopy(document())


def test_no_name_tells_where_the_code_lies(today: Document) -> None:
    assert not [name for name in today["components"]["schemas"] if "." in name]


def test_the_document_in_the_repository_is_current(today: Document) -> None:
    assert PATH.read_text() == text_of(today), "run `make contracts`"


def test_it_describes_every_message_of_every_version(today: Document) -> None:
    messages = today["components"]["messages"]
    for decider in STREAMS.values():
        assert decider.events.keys() | decider.commands.keys() <= messages.keys()
    assert UPCASTERS.keys() <= messages.keys()
    assert [name for name, message in messages.items() if not message["description"]] == []
    assert [name for name, channel in today["channels"].items() if not channel["description"]] == []


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_leads_somewhere(today: Document) -> None:
    for reference in references(today):
        place: Any = today
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.stem)
def test_what_lies_on_the_log_has_the_headers_that_it_says(path: Path, today: Document) -> None:
    record = record_of(path.read_bytes())
    message = today["components"]["messages"][record.header("ce_type")]
    headers = today["components"]["schemas"][message["headers"]["$ref"].rpartition("/")[2]]
    assert {name for name, _ in record.headers} == set(headers["required"])
    assert f"/{record.header('ce_type')}" in str(
        [one["messages"] for one in today["channels"].values() if one["address"] == record.partition.topic]
    )


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.stem)
def test_what_lies_on_the_log_has_the_body_that_it_says(path: Path, today: Document) -> None:
    record = record_of(path.read_bytes())
    payload = today["components"]["messages"][record.header("ce_type")]["payload"]
    validator = jsonschema.Draft202012Validator(payload | {"components": today["components"]})
    validator.validate(json.decode(record.value or b""))
    assert not validator.is_valid("no object")


def schema(document: Document, name: str) -> Document:
    return document["components"]["schemas"][name]  # type: ignore[no-any-return]


def remove_a_channel(now: Document) -> None:
    del now["channels"]["tunings.events"]


def remove_a_message(now: Document) -> None:
    del now["channels"]["files.events"]["messages"]["tunesmith.file.deleted.v1"]


def remove_a_field(now: Document) -> None:
    del schema(now, "EpochResult")["properties"]["train_loss"]


def change_a_type(now: Document) -> None:
    schema(now, "EpochResult")["properties"]["step"] = {"type": "string"}


def require_a_new_field(now: Document) -> None:
    schema(now, "Started")["properties"]["device"] = {"type": "string"}
    schema(now, "Started")["required"].append("device")


def drop_a_default(now: Document) -> None:
    schema(now, "Failed")["required"].append("result_files")


def forbid_a_value(now: Document) -> None:
    schema(now, "AttemptLost")["properties"]["reason"]["enum"].remove("stalled")


def drop_a_header(now: Document) -> None:
    del schema(now, "events-headers")["properties"]["ce_chain"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (remove_a_channel, "channel tunings.events is gone"),
        (remove_a_message, "message tunesmith.file.deleted.v1 is gone from files.events"),
        (remove_a_field, "tunesmith.tuning.epoch_completed.v1.result.train_loss is gone"),
        (change_a_type, "tunesmith.tuning.epoch_completed.v1.result.step was integer and is string"),
        (require_a_new_field, "tunesmith.tuning.started.v1.device is new and has no default"),
        (drop_a_default, "tunesmith.tuning.failed.v1.result_files had a default and has none now"),
        (forbid_a_value, "tunesmith.tuning.attempt_lost.v1.reason can no longer be 'stalled'"),
        (drop_a_header, "headers of tunesmith.tuning.created.v1.ce_chain is gone"),
    ],
)
def test_what_breaks_others_is_told_as_such(
    today: Document, change: Callable[[Document], None], told: str
) -> None:
    now = copy.deepcopy(today)
    change(now)
    found = [one for one in changes(today, now) if one.breaking]
    assert told in [one.what for one in found]
    assert str(found[0]).startswith("breaking: ")


def test_a_new_field_with_a_default_breaks_nobody(today: Document) -> None:
    now = copy.deepcopy(today)
    schema(now, "Started")["properties"]["device"] = {"type": "string", "default": ""}
    assert [str(one) for one in changes(today, now)] == ["changed: tunesmith.tuning.started.v1.device is new"]


def test_the_check_fails_when_the_document_is_stale(tmp_path: Path, today: Document) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.asyncapi", "--check"], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, "is current" in ran.stdout) == (0, True)
    remove_a_field(today)
    stale = tmp_path / "asyncapi.yaml"
    stale.write_text(yaml.safe_dump(today))
    code = (
        "import sys, pathlib, scripts.asyncapi.__main__ as it\n"
        f"it.PATH = pathlib.Path({str(stale)!r})\n"
        "sys.argv = ['asyncapi', '--check']\nsys.exit(it.main())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert "result.train_loss is new" in ran.stdout
    assert "is stale" in ran.stdout
