"""Base models: registered, registered anew at another revision, archived. Tuned ones: deleted."""

from __future__ import annotations

from app.domain.models import (
    MODELS,
    Archived,
    ArchiveModel,
    Deleted,
    DeleteModel,
    Registered,
    RegisterModel,
)
from tests.unit.domain.scenario import Scenario

FIRST = RegisterModel("r1", 8192, 135, "Apache-2.0")


def test_a_model_is_registered_once_per_revision() -> None:
    model = Scenario(MODELS, "smollm2")
    assert model.then(FIRST) == (Registered("r1", 8192, 135, "Apache-2.0"),)
    assert model.then(FIRST) == ()
    model.then(RegisterModel("r2", 8192, 135, "Apache-2.0"))
    assert model.state.revision == "r2"


def test_an_archived_model_comes_back_when_it_is_registered_again() -> None:
    model = Scenario(MODELS, "smollm2")
    model.then(FIRST)
    assert model.then(ArchiveModel()) == (Archived(),)
    assert model.then(ArchiveModel()) == ()
    model.then(FIRST)
    assert not model.state.archived


def test_what_is_not_there_cannot_be_archived() -> None:
    assert Scenario(MODELS, "smollm2").refused(ArchiveModel()).code == "not_found"


def test_a_tuned_model_is_deleted_once_and_stays_so() -> None:
    model = Scenario(MODELS, "ft:smollm2::job-a")
    assert model.then(DeleteModel("acct-a")) == (Deleted("acct-a"),)
    assert model.then(DeleteModel("acct-a")) == ()
    assert model.refused(DeleteModel("acct-b")).code == "not_found"
    for command in (FIRST, ArchiveModel()):
        assert model.refused(command).code == "not_found"
    assert model.state.archived


def test_a_base_model_cannot_be_deleted() -> None:
    model = Scenario(MODELS, "smollm2")
    model.then(FIRST)
    assert model.refused(DeleteModel("acct-a")).code == "not_found"
    assert not model.state.archived
