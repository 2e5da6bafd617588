"""How models look from outside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.api.schemas.pages import seconds
from app.catalogue.catalogue import CATALOGUE
from app.catalogue.memory import usual
from app.domain.models import BaseModel


class ModelMemory(Struct, frozen=True, kw_only=True):
    """The memory that a run needs, in bytes; `tunings.estimate` tells it for a tuning of your own."""

    lora: Annotated[int, Meta(description="With the weights as they are.")]
    qlora: Annotated[int, Meta(description="With the weights in 4 bits: `use_quantization`.")]


class ModelObject(Struct, frozen=True, kw_only=True):
    """A base model that can be tuned, or one that a tuning made."""

    id: Annotated[str, Meta(description="What `model` of a tuning names.")]
    object: Literal["model"] = "model"
    created: Annotated[int | None, Meta(description="Unix seconds.")]
    owned_by: Annotated[str, Meta(description="`tunesmith` for base models, else the account.")]
    context_length: Annotated[int | None, Meta(description="Tokens; base models.")] = None
    parameters: Annotated[int | None, Meta(description="Numbers in the weights; base models.")] = None
    license: Annotated[str | None, Meta(description="Base models.")] = None
    revision: Annotated[str | None, Meta(description="The exact weights; base models.")] = None
    template: Annotated[
        str | None, Meta(description="Family of the chat template, or `none`; base models.")
    ] = None
    memory: Annotated[
        ModelMemory | None, Meta(description="For a run with the default hyperparameters; base models.")
    ] = None
    archived: Annotated[bool, Meta(description="Whether no new tuning may begin with it.")] = False
    base_model: Annotated[str | None, Meta(description="What was tuned; tuned models.")] = None
    tuning: Annotated[str | None, Meta(description="Id of the tuning that made it; tuned models.")] = None


class ModelList(Struct, frozen=True, kw_only=True):
    """Every model, in one page."""

    object: Literal["list"] = "list"
    data: Annotated[list[ModelObject], Meta(description="The models: base ones first.")]
    has_more: Annotated[Literal[False], Meta(description="Always false.")] = False


def base_model_view(model: BaseModel) -> ModelObject:
    """The model object of a base model."""
    return ModelObject(
        id=model.id,
        created=seconds(model.created_at),
        owned_by="tunesmith",
        context_length=model.context_length,
        parameters=model.parameters,
        license=model.license,
        revision=model.revision,
        template=model.template or None,
        memory=_memory(model),
        archived=model.archived,
    )


def _memory(model: BaseModel) -> ModelMemory | None:
    """What the defaults need; None where this server's catalogue does not have the model."""
    entry = CATALOGUE.get(model.id)
    if entry is None or entry.revision != model.revision:
        return None
    return ModelMemory(lora=usual(entry).total, qlora=usual(entry, use_quantization=True).total)


def tuned_model_view(row: Any) -> ModelObject:
    """The model object of a fine-tuned model, from its row."""
    return ModelObject(
        id=row["id"],
        created=seconds(row["created_at"]),
        owned_by=row["account_id"],
        base_model=row["base"],
        tuning=row["tuning_id"],
    )
