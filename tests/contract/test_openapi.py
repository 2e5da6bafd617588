"""The OpenAPI document is current, whole and valid, and a change of it that breaks clients is told."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.app import routed
from app.api.openapi import document
from scripts.openapi.__main__ import PATH, text_of
from scripts.openapi.changes import changes

Document = dict[str, Any]
TODAY = document(routed())


@pytest.fixture
def today() -> Document:
    return copy.deepcopy(TODAY)


def operations(found: Document) -> Iterator[tuple[str, Document]]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def test_the_document_in_the_repository_is_current(today: Document) -> None:
    assert PATH.read_text() == text_of(today), "run `make contracts`"


def test_it_is_valid_openapi_3_1(today: Document) -> None:
    assert today["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(today).validate()


def test_every_operation_tells_what_it_does_takes_and_answers(today: Document) -> None:
    ids = [operation["operationId"] for _, operation in operations(today)]
    assert len(set(ids)) == len(ids)
    for name, operation in operations(today):
        assert operation["summary"], name
        answers = {status: each for status, each in operation["responses"].items() if status < "400"}
        assert answers, name
        for each in answers.values():
            assert all(content["schema"] for content in each["content"].values()), name
        for parameter in operation.get("parameters", ()):
            assert parameter["schema"], name
            assert parameter["in"] == "path" or parameter.get("description"), (name, parameter["name"])


def test_every_schema_tells_what_it_is(today: Document) -> None:
    silent = [
        name for name, schema in today["components"]["schemas"].items() if not schema.get("description")
    ]
    assert silent == []


def test_every_schema_in_it_has_a_name_of_its_own(today: Document) -> None:
    assert [name for name in today["components"]["schemas"] if "." in name] == []


def remove_a_route(now: Document) -> None:
    del now["paths"]["/v1/tunings.list"]


def require_a_key(now: Document) -> None:
    now["paths"]["/livez"]["get"]["security"] = [{"key": []}]


def remove_a_parameter(now: Document) -> None:
    now["paths"]["/v1/tunings.list"]["get"]["parameters"].pop(0)


def require_a_parameter(now: Document) -> None:
    parameter = {"name": "team", "in": "query", "required": True, "schema": {"type": "string"}}
    now["paths"]["/v1/tunings.list"]["get"]["parameters"].append(parameter)


def narrow_a_parameter(now: Document) -> None:
    now["paths"]["/v1/tunings.list"]["get"]["parameters"][0]["schema"]["maximum"] = 50


def require_a_field(now: Document) -> None:
    now["components"]["schemas"]["TuningRequest"]["required"].append("suffix")


def remove_an_answers_field(now: Document) -> None:
    del now["components"]["schemas"]["TuningJob"]["properties"]["phase"]


def remove_an_answer(now: Document) -> None:
    del now["paths"]["/v1/tunings.create"]["post"]["responses"]["202"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (remove_a_route, "GET /v1/tunings.list is gone"),
        (require_a_key, "GET /livez asks for a key now"),
        (remove_a_parameter, "GET /v1/tunings.list: query limit is gone"),
        (require_a_parameter, "GET /v1/tunings.list: query team is new and required"),
        (narrow_a_parameter, "GET /v1/tunings.list: query limit's maximum was 100.0 and is 50"),
        (require_a_field, "POST /v1/tunings.create: body.suffix had a default and has none now"),
        (remove_an_answers_field, "GET /v1/tunings.get/{id}: 200.phase is gone"),
        (remove_an_answer, "POST /v1/tunings.create no longer answers 202"),
    ],
)
def test_what_breaks_clients_is_told_as_such(
    today: Document, change: Callable[[Document], None], told: str
) -> None:
    now = copy.deepcopy(today)
    change(now)
    assert told in [each.what for each in changes(today, now) if each.breaking]


def test_what_only_grows_breaks_nobody(today: Document) -> None:
    now = copy.deepcopy(today)
    now["paths"]["/v1/more.list"] = now["paths"]["/v1/tunings.list"]
    schemas = now["components"]["schemas"]
    schemas["TuningJob"]["properties"]["more"] = {"type": "string"}
    schemas["TuningJob"]["required"].append("more")
    schemas["TuningRequest"]["properties"]["more"] = {"type": "string", "default": ""}
    found = changes(today, now)
    assert found
    assert not any(each.breaking for each in found)
