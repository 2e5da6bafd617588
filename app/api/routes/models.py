"""The models: base ones that can be tuned, and the account's tuned ones, which it can delete."""

from __future__ import annotations

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath

from app.api.decisions import decided
from app.api.errors import ApiError, missing
from app.api.schemas.models import ModelList, ModelObject, base_model_view, tuned_model_view
from app.api.schemas.pages import Deleted
from app.api.session import Authenticated, Session
from app.domain.models import MODELS, ArchiveModel, BaseModel, DeleteModel, RestoreModel


@get("/v1/models", operation_id="listModels", scope="read")
async def list_models(session: Authenticated) -> ModelList:
    """Every model, in one page."""
    base = await session.service.pool.fetch("SELECT state FROM models WHERE NOT archived ORDER BY id")
    tuned = await session.service.pool.fetch(
        "SELECT * FROM live_tuned_models WHERE account_id = $1 ORDER BY created_at DESC, id",
        session.caller.account_id,
    )
    views = [base_model_view(msgspec.json.decode(row["state"], type=BaseModel)) for row in base]
    return ModelList(data=views + [tuned_model_view(row) for row in tuned])


@get("/v1/models/{id:str}", operation_id="getModel", scope="read")
async def retrieve(session: Authenticated, id: FromPath[str]) -> ModelObject:
    """One model."""
    return await _model(session, id)


async def _model(session: Session, id: str) -> ModelObject:
    row = await session.service.pool.fetchrow("SELECT state FROM models WHERE id = $1 AND NOT archived", id)
    if row is not None:
        return base_model_view(msgspec.json.decode(row["state"], type=BaseModel))
    tuned = await session.service.pool.fetchrow(
        "SELECT * FROM live_tuned_models WHERE id = $1 AND account_id = $2", id, session.caller.account_id
    )
    if tuned is None:
        raise missing("model", id)
    return tuned_model_view(tuned)


@delete("/v1/models/{id:str}", status_code=200, operation_id="deleteModel", scope="write")
async def remove(session: Authenticated, id: FromPath[str]) -> Deleted:
    """Take a tuned model out of use; its adapter stays to be had from the tuning that made it."""
    found = await _model(session, id)
    if found.tuning is None:
        raise ApiError(
            400, "model_not_deletable", f"{id} is a base model; only tuned ones can be deleted", "id"
        )
    await decided(session, MODELS, id, DeleteModel(session.caller.account_id), certain=True)
    return Deleted(id, "model")


@post(
    "/v1/models.archive/{id:str}", status_code=200, operation_id="archiveModel", scope="admin", answers=(202,)
)
async def archive(session: Authenticated, id: FromPath[str]) -> Response[ModelObject]:
    """Let no new tuning begin with a base model; those that are there already go on."""
    return await _changed(session, id, ArchiveModel())


@post(
    "/v1/models.restore/{id:str}", status_code=200, operation_id="restoreModel", scope="admin", answers=(202,)
)
async def restore(session: Authenticated, id: FromPath[str]) -> Response[ModelObject]:
    """Let new tunings begin with an archived base model again."""
    return await _changed(session, id, RestoreModel())


async def _changed(session: Session, id: str, command: ArchiveModel | RestoreModel) -> Response[ModelObject]:
    states = await session.service.known.states([id])
    if not isinstance(model := states.get(id), BaseModel) or model.account_id is not None:
        raise missing("model", id)
    reply, seen = await decided(session, MODELS, id, command, certain=True)
    view = base_model_view(msgspec.json.decode(reply.state, type=BaseModel))
    return Response(view, status_code=200 if seen else 202)


ROUTES = [list_models, retrieve, remove, archive, restore]
