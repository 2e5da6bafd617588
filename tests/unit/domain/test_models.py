"""Base models: registered, registered anew at another revision, archived."""

from __future__ import annotations

from app.domain.models import MODELS, Archived, ArchiveModel, Registered, RegisterModel
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
