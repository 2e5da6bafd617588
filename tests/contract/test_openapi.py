"""The OpenAPI document is current, whole and valid, and a change of it that breaks clients is told."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.app import routed
from app.api.codes import refusals
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
            assert parameter.get("description"), (name, parameter["name"])


def responses(found: Document) -> Iterator[tuple[str, str, Document]]:
    for name, operation in operations(found):
        for status, response in operation["responses"].items():
            yield name, status, resolved(found, response)


def resolved(found: Document, part: Document) -> Document:
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    told: Document = found["components"][kind][name]
    return told


def test_every_field_tells_what_it_is(today: Document) -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in today["components"]["schemas"].items()
        for field, told in schema.get("properties", {}).items()
        if not told.get("description")
    ]
    assert silent == []


def test_no_field_is_a_bare_object_but_those_that_are_anybodys(today: Document) -> None:
    bare = {
        f"{name}.{field}"
        for name, schema in today["components"]["schemas"].items()
        for field, told in schema.get("properties", {}).items()
        for choice in told.get("anyOf", [told])
        if choice.get("type") == "object" and not {"properties", "additionalProperties"} & choice.keys()
    }
    anybodys = {"FineTuningEvent.data", "TuningEvent.data", "Suggestion.hyperparameters"}
    assert bare == anybodys


def test_every_answer_tells_what_it_means_and_each_of_its_headers(today: Document) -> None:
    for name, status, response in responses(today):
        phrase = HTTPStatus(int(status)).phrase
        assert response["description"] not in ("", phrase), (name, status)
        assert "x-request-id" in response["headers"], (name, status)
        for header, reference in response["headers"].items():
            told = resolved(today, reference)
            assert told["description"], (name, status, header)
            assert told["schema"], (name, status, header)


def test_an_answer_has_the_headers_that_belong_to_its_status(today: Document) -> None:
    owed = {"401": "www-authenticate", "405": "allow", "409": "x-should-retry", "429": "retry-after"}
    owed |= {"503": "retry-after"}
    for name, status, response in responses(today):
        if header := owed.get(status):
            assert header in response["headers"], (name, status)
    for path, item in today["paths"].items():
        created = item.get("post", {}).get("responses", {}).get("201")
        if created is not None and path != "/v1/uploads/{id}/parts":  # a part is not to be read by itself
            assert "location" in created["headers"], path


def test_every_refusal_tells_its_codes_and_every_code_is_told(today: Document) -> None:
    told: set[str] = set()
    for name, status, response in responses(today):
        if "ErrorBody" in str(response["content"]):
            assert response["x-codes"], (name, status)
            assert all(f"`{code}`" in response["description"] for code in response["x-codes"])
            told |= set(response["x-codes"])
    nowhere = {each.code for each in refusals() if not each.on}  # there is no operation to tell it of
    assert told == {each.code for each in refusals()} - nowhere
    assert nowhere == {"unknown_route"}


def test_the_table_of_codes_names_only_operations_that_there_are(today: Document) -> None:
    kinds = {"every", "keyed", "id", "body", "form", "idempotent"}
    known = {operation["operationId"] for _, operation in operations(today)}
    nouns = {operation["tags"][0] for _, operation in operations(today)}
    assert {name for each in refusals() for name in each.on} <= kinds | known | nouns


def test_an_idempotency_key_is_told_of_where_it_means_something(today: Document) -> None:
    for name, operation in operations(today):
        takes = any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
        changes_something = operation["operationId"] not in ("estimateTuning", "previewTuning")
        assert takes == (name.startswith("post") and changes_something), name
        assert takes or "idempotency_conflict" not in str(operation["responses"].get("409")), name


def test_what_a_client_leaves_out_is_what_the_document_says(today: Document) -> None:
    schemas = today["components"]["schemas"]
    theirs = schemas["FineTuningHyperparameters"]["properties"]
    assert {name: theirs[name]["default"] for name in ("n_epochs", "batch_size", "beta")} == {
        "n_epochs": "auto",
        "batch_size": "auto",
        "beta": "auto",
    }
    assert theirs["learning_rate_multiplier"]["default"] == "auto"
    assert {"exclusiveMinimum": 0, "maximum": 100, "type": "number"} in theirs["beta"]["anyOf"]
    assert "packing" in theirs  # ours stand beside them
    form = schemas["UploadForm"]["properties"]
    assert form["purpose"]["enum"] == ["fine-tune", "user_data"]
    assert "pattern" in form["sha256"]["anyOf"][0]
    assert "verifying" in schemas["TuningJob"]["properties"]["phase"]["description"]


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
