"""Answers as objects: typed, tolerant, plain dicts underneath."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from tunesmith import File, FileCheck


def test_unknown_fields_are_kept_and_missing_ones_are_none() -> None:
    file = File({"id": "file-1", "status": "embargoed", "colour": "blue"})
    assert (file.id, file.status, file["colour"]) == ("file-1", "embargoed", "blue")
    assert file.colour == "blue"  # type: ignore[attr-defined]
    assert file.sha256 is None
    with pytest.raises(AttributeError, match="File has no field 'smell'; it has id, status, colour"):
        _ = file.smell  # type: ignore[attr-defined]
    assert not hasattr(file, "_private")
    assert "colour" in dir(file)


def test_a_resource_is_its_json_object() -> None:
    fields = {"id": "file-1", "faults": [{"line": 1, "more": {"a": [1]}}, "odd"], "statistics": None}
    check = FileCheck(fields)
    assert json.loads(json.dumps(check)) == fields == check.to_dict()
    assert type(check.to_dict()["faults"][0]) is dict


@pytest.mark.parametrize("copied", [lambda r: pickle.loads(pickle.dumps(r)), copy.copy, copy.deepcopy])
def test_a_resource_survives_pickling_and_copying(copied: object) -> None:
    check = FileCheck({"id": "file-1", "faults": [{"line": 4}]})
    twin = copied(check)  # type: ignore[operator]
    assert twin == check
    assert twin.faults[0].line == 4
    assert repr(twin) == "<FileCheck id=file-1>"
