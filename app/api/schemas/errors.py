"""How every refusal looks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "rate_limit_error",
    "server_error",
]


class RequestFault(Struct, frozen=True):
    """One thing wrong with a request."""

    param: Annotated[
        str | None,
        Meta(description="The field, parameter or header, with dots between the names of nested ones."),
    ]
    message: Annotated[str, Meta(description="What is wrong with it, and what to do.")]
    code: Annotated[str, Meta(description="Stable; for programs.")] = "invalid_value"


class Error(Struct, frozen=True):
    """Why a request was refused."""

    type: Annotated[ErrorType, Meta(description="Which kind of refusal it is; `code` says more.")]
    message: Annotated[str, Meta(description="What is wrong, and what to do.")]
    code: Annotated[str, Meta(description="Stable; for programs.")]
    param: Annotated[str | None, Meta(description="What it is about; of several faults the first's.")]
    errors: Annotated[
        tuple[RequestFault, ...] | UnsetType, Meta(description="Every fault of the request.")
    ] = UNSET


class ErrorBody(Struct, frozen=True):
    """The body of every refusal."""

    error: Annotated[Error, Meta(description="Why the request was refused.")]
