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
    RestoreModel,
)
from tests.unit.domain.scenario import Scenario

FIRST = RegisterModel("r1", 8192, 135, "Apache-2.0")


def test_a_model_is_registered_once_per_revision() -> None:
    model = Scenario(MODELS, "smollm2")
    assert model.then(FIRST) == (Registered("r1", 8192, 135, "Apache-2.0"),)
    assert model.then(FIRST) == ()
    model.then(RegisterModel("r2", 8192, 135, "Apache-2.0"))
    assert model.state.revision == "r2"


def test_an_archived_model_stays_so_when_a_worker_registers_it_again_until_it_is_restored() -> None:
    model = Scenario(MODELS, "smollm2")
    model.then(FIRST)
    assert model.then(RestoreModel()) == ()
    assert model.then(ArchiveModel()) == (Archived(),)
    assert model.then(ArchiveModel()) == ()
    assert model.then(FIRST) == ()
    assert model.state.archived
    assert model.then(RestoreModel()) == (Registered("r1", 8192, 135, "Apache-2.0"),)
    assert not model.state.archived


def test_an_archived_model_comes_back_at_another_revision() -> None:
    model = Scenario(MODELS, "smollm2")
    model.then(FIRST)
    model.then(ArchiveModel())
    model.then(RegisterModel("r2", 8192, 135, "Apache-2.0"))
    assert not model.state.archived


def test_a_model_that_says_more_of_itself_is_registered_anew() -> None:
    model = Scenario(MODELS, "smollm2")
    model.then(FIRST)
    model.then(RegisterModel("r1", 8192, 135, "Apache-2.0", "chatml"))
    assert model.state.template == "chatml"


def test_what_is_not_there_cannot_be_archived() -> None:
    for command in (ArchiveModel(), RestoreModel()):
        assert Scenario(MODELS, "smollm2").refused(command).code == "not_found"


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
