"""Base models that can be tuned. Tuned ones begin with a tuning's `succeeded`; here they only end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from app.domain.decider import Accepted, Context, Decider, Recorded, Rejection, not_found, wire_types


class RegisterModel(Struct, frozen=True):
    """A base model is to be had: `revision` names its exact weights, `context_length` is in tokens.

    `template` is the family of its chat template.
    """

    revision: str
    context_length: int
    parameters: int
    license: str
    template: str = ""


class ArchiveModel(Struct, frozen=True):
    """No new tuning may start from this model."""


class RestoreModel(Struct, frozen=True):
    """New tunings may start from this model again."""


class DeleteModel(Struct, frozen=True):
    """Take a tuned model out of use; `account_id` is whose it is."""

    account_id: str


class Registered(Struct, frozen=True):
    """A base model is to be had, or in another revision."""

    revision: str
    context_length: int
    parameters: int
    license: str
    template: str = ""


class Archived(Struct, frozen=True):
    """No new tuning may start from it."""


class Deleted(Struct, frozen=True):
    """A tuned model is out of use; the adapter's bytes stay with its tuning."""

    account_id: str


class BaseModel(Struct, frozen=True):
    """A base model as last registered; or a tuned one of an account, of which only its end is known here."""

    id: str
    revision: str
    context_length: int
    parameters: int
    license: str
    created_at: datetime
    archived: bool = False
    account_id: str | None = None
    template: str = ""


def decide(model: BaseModel | None, command: Any, context: Context) -> Accepted | Rejection:
    """Events for a command, or why not."""
    match model, command:
        case None, DeleteModel():
            return Accepted((Deleted(command.account_id),))
        case BaseModel(), DeleteModel():
            again = model.account_id == command.account_id
            return Accepted() if again else not_found("tuned model", context)
        case BaseModel(account_id=str()), _:
            return not_found("base model", context)
        case None, RegisterModel():
            return Accepted((Registered(**msgspec.structs.asdict(command)),))
        case None, _:
            return not_found("model", context)
        case BaseModel(), RegisterModel():
            registered = Registered(**msgspec.structs.asdict(command))
            # Workers register what they have whenever they start: that alone brings nothing back.
            known = model.revision == command.revision if model.archived else _registered(model) == registered
            return Accepted() if known else Accepted((registered,))
        case BaseModel(archived=archived), RestoreModel():
            return Accepted((_registered(model),)) if archived else Accepted()
        case BaseModel(archived=archived), ArchiveModel():
            return Accepted() if archived else Accepted((Archived(),))
    raise TypeError(f"not a command of models: {command!r}")


def _registered(model: BaseModel) -> Registered:
    return Registered(**{name: getattr(model, name) for name in Registered.__struct_fields__})


def evolve(model: BaseModel | None, event: Any, recorded: Recorded) -> BaseModel:
    """The model after `event`."""
    match event:
        case Registered():
            created_at = model.created_at if model else recorded.at
            return BaseModel(id=recorded.aggregate_id, created_at=created_at, **msgspec.structs.asdict(event))
        case Deleted(account_id=account_id):
            return BaseModel(recorded.aggregate_id, "", 0, 0, "", recorded.at, True, account_id)
        case Archived():
            assert model is not None
            return msgspec.structs.replace(model, archived=True)
    raise TypeError(f"not an event of models: {event!r}")


MODELS = Decider(
    stream="models",
    noun="model",
    state=BaseModel,
    commands=wire_types("model", RegisterModel, ArchiveModel, RestoreModel, DeleteModel),
    events=wire_types("model", Registered, Archived, Deleted),
    decide=decide,
    evolve=evolve,
)
