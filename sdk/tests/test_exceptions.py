"""The exceptions: their tree, what they carry, and that they travel between processes."""

from __future__ import annotations

import builtins
import copy
import pickle
from typing import Any

import pytest

import tunesmith
from tunesmith import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionError,
    RateLimitError,
    ServerError,
    TimeoutError,
)

EVERY_KIND: list[type[APIError]] = [
    APIError,
    APIConnectionError,
    TimeoutError,
    InvalidRequestError,
    AuthenticationError,
    PermissionError,
    NotFoundError,
    ConflictError,
    RateLimitError,
    ServerError,
]


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_exception_survives_pickling_and_copying_with_all_it_carries(
    kind: type[APIError], copied: Any
) -> None:
    error = kind(
        "what went wrong",
        status_code=418,
        type="server_error",
        code="teapot",
        param="hyperparameters.rank",
        request_id="req-1",
        errors=({"param": "rank", "message": "too small", "code": "invalid_value"},),
    )
    if isinstance(error, (RateLimitError, ServerError)):
        error.retry_after = 2.5
    twin = copied(error)
    assert type(twin) is kind
    assert vars(twin) == vars(error)
    assert vars(twin)["param"] == "hyperparameters.rank"
    assert str(twin) == "what went wrong" == twin.args[0]
    assert repr(twin) == (
        f"{kind.__name__}('what went wrong', status_code=418, code='teapot', param='hyperparameters.rank', "
        "request_id='req-1')"
    )


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_exception_is_an_api_error_and_all_its_fields_may_be_left_out(kind: type[APIError]) -> None:
    error = kind("sentence")
    assert isinstance(error, APIError)
    fields = (error.status_code, error.type, error.code, error.param, error.request_id)
    assert fields == (None,) * 5
    assert error.errors == ()


def test_a_timeout_can_be_caught_as_the_builtin_one_and_under_both_names() -> None:
    assert APITimeoutError is TimeoutError
    with pytest.raises(builtins.TimeoutError):
        raise TimeoutError("late")


def test_the_source_documents_positional_arguments_work() -> None:
    assert InvalidRequestError("wrong", "training_file").param == "training_file"
    assert RateLimitError("slow down", 3).retry_after == 3


def test_the_drawn_tree_names_every_exception() -> None:
    drawing = tunesmith._exceptions.__doc__ or ""
    for kind in EVERY_KIND:
        assert kind.__name__ in drawing
