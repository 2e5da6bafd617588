"""What a create of OpenAI's clients means, and every fault of it in its own words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.schemas.errors import RequestFault
from app.api.schemas.openai.request import FineTuningJobRequest, in_their_words, understood
from tests.unit.api.test_requests import JSON

NO_MULTIPLIERS: list[Any] = [0, -1, "2", True, [], 10**400, 1e9]
PLAIN = {"model": "base", "training_file": "file-a"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, {}),
        ({"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}, {"epochs": 2, "batch_size": "auto"}),
        ({"method": {"type": "supervised"}}, {}),
        ({"method": {"type": "supervised", "supervised": None, "dpo": None}}, {}),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}},
            {"epochs": 2},
        ),
        ({"hyperparameters": {"learning_rate_multiplier": 0.1}}, {"learning_rate": 0.00002}),
        ({"hyperparameters": {"learning_rate_multiplier": "auto"}}, {"learning_rate": "auto"}),
        ({"hyperparameters": {"learning_rate_multiplier": None}}, {}),
        ({"hyperparameters": {"rank": 8}}, {"rank": 8}),
        (
            {
                "hyperparameters": {"n_epochs": 2},
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"epochs": 2}}},
            },
            {"epochs": 2},
        ),
        ({"integrations": None}, {}),
        ({"integrations": []}, {}),
    ],
)
def test_a_create_says_the_same_as_a_tuning_request(given: dict[str, Any], meant: dict[str, Any]) -> None:
    found = understood(PLAIN | given)
    assert found.faults == []
    assert found.values == PLAIN | {"method": "supervised", "hyperparameters": meant}


def test_the_multiplier_is_of_the_methods_own_default() -> None:
    given = {"hyperparameters": {"learning_rate_multiplier": 3, "beta": 0.2}}
    found = understood(PLAIN | {"method": {"type": "dpo", "dpo": given}})
    assert found.faults == []
    assert found.values["method"] == "dpo"
    assert found.values["hyperparameters"] == {"learning_rate": 6e-5, "beta": 0.2}


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"integrations": [{"type": "wandb"}]}, "integrations", "unsupported"),
        ({"integrations": "wandb"}, "integrations", "unsupported"),
        ({"method": {"type": "reinforcement"}}, "method.type", "unsupported"),
        ({"method": {"type": ["supervised"]}}, "method.type", "invalid_value"),
        ({"method": {}}, "method.type", "missing_field"),
        ({"method": "supervised"}, "method", "invalid_value"),
        ({"method": {"type": "supervised", "dpo": {}}}, "method.dpo", "invalid_value"),
        ({"method": {"type": "supervised", "colour": 1}}, "method.colour", "unknown_field"),
        ({"method": {"type": "supervised", "supervised": 1}}, "method.supervised", "invalid_value"),
        (
            {"method": {"type": "supervised", "supervised": {"colour": 1}}},
            "method.supervised.colour",
            "unknown_field",
        ),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": 3}}},
            "method.supervised.hyperparameters",
            "invalid_value",
        ),
        ({"hyperparameters": []}, "hyperparameters", "invalid_value"),
        (
            {"hyperparameters": {"n_epochs": 2, "epochs": 3}},
            "hyperparameters.epochs",
            "invalid_value",
        ),
        *[
            (
                {"hyperparameters": {"learning_rate_multiplier": wrong}},
                "hyperparameters.learning_rate_multiplier",
                "invalid_value",
            )
            for wrong in NO_MULTIPLIERS
        ],
        ({"seed": -1}, "seed", "invalid_value"),
        ({"priority": None}, "priority", "invalid_value"),
        ({"surprise": 1}, "surprise", "unknown_field"),
    ],
)
def test_a_fault_names_what_the_client_wrote(given: dict[str, Any], param: str, code: str) -> None:
    assert [(each.param, each.code) for each in understood(PLAIN | given).faults] == [(param, code)]


def test_a_fault_of_ours_is_told_of_theirs() -> None:
    found = understood(
        PLAIN | {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 0}}}}
    )
    ours = RequestFault("hyperparameters.epochs", "epochs is 0: expected an integer >= 1")
    told = in_their_words(ours, found.sources)
    assert told.param == "method.supervised.hyperparameters.n_epochs"
    assert told.message == "n_epochs is 0: expected an integer >= 1"
    other = RequestFault("model", "there is no base model")
    assert in_their_words(other, found.sources) == other


NESTED = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["supervised", "dpo", "reinforcement"]) | JSON,
        "supervised": st.fixed_dictionaries({}, optional={"hyperparameters": JSON, "more": JSON}) | JSON,
        "dpo": JSON,
    },
)


@pytest.mark.parametrize("kind", ["method", "hyperparameters"])
@given(
    st.dictionaries(st.sampled_from(FineTuningJobRequest.__struct_fields__) | st.text(), JSON), NESTED | JSON
)
def test_whatever_the_body_it_is_read_or_refused(kind: str, body: dict[str, Any], nested: Any) -> None:
    found = understood(body | {kind: nested})
    assert all(fault.message for fault in found.faults)
    assert isinstance(found.values["hyperparameters"], dict)
