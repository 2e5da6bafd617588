"""The api: key looked up by its hash, body checked, file and model looked up, job written, task queued."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.reference_stack.schemas import TuningJob, TuningPage, TuningRequest
from benchmarks.reference_stack.tables import ApiKey, File, Job, Model, User
from benchmarks.reference_stack.tasks import run_training

engine = create_async_engine(
    os.environ["REFERENCE_DATABASE"], pool_size=int(os.environ["REFERENCE_POOL"]), max_overflow=0
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
bearer = HTTPBearer()
app = FastAPI()


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Database = Annotated[AsyncSession, Depends(session)]


async def user_of(
    database: Database, credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]
) -> User:
    digest = hashlib.sha256(credentials.credentials.encode()).hexdigest()
    user = await database.scalar(select(User).join(ApiKey).where(ApiKey.sha256 == digest))
    if user is None:
        raise HTTPException(401, "Invalid API key")
    if not user.is_active:
        raise HTTPException(403, "Account suspended")
    return user


@app.post("/v1/tunings.create", status_code=201)
async def create(
    request: TuningRequest, database: Database, user: Annotated[User, Depends(user_of)]
) -> TuningJob:
    if await database.get(Model, request.model) is None:
        raise HTTPException(400, f"there is no base model {request.model!r}")
    for id in filter(None, (request.training_file, request.validation_file)):
        file = await database.scalar(select(File).where(File.id == id, File.user_id == user.id))
        if file is None or file.status != "processed":
            raise HTTPException(400, f"file {id!r} not found")
    job = Job(
        id=f"job-{secrets.token_hex(12)}",
        user_id=user.id,
        model=request.model,
        training_file=request.training_file,
        validation_file=request.validation_file,
        hyperparameters=request.hyperparameters.model_dump(),
        suffix=request.suffix,
        job_metadata=request.metadata,
        status="pending",
    )
    database.add(job)
    await database.commit()
    run_training.delay(job.id)  # on the loop: a thread for these 0.3 ms costs more than it frees
    return view(job)


async def job_of(id: str, database: Database, user: User) -> Job:
    job = await database.scalar(select(Job).where(Job.id == id, Job.user_id == user.id))
    if job is None:
        raise HTTPException(404, f"there is no job {id!r}")
    return job


@app.get("/v1/tunings.get/{id}")
async def retrieve(id: str, database: Database, user: Annotated[User, Depends(user_of)]) -> TuningJob:
    return view(await job_of(id, database, user))


@app.get("/v1/tunings.list")
async def list_jobs(
    database: Database,
    user: Annotated[User, Depends(user_of)],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: str | None = None,
    status: str | None = None,
) -> TuningPage:
    found = select(Job).where(Job.user_id == user.id)
    if status is not None:
        found = found.where(Job.status == status)
    if after is not None:
        last = await job_of(after, database, user)
        found = found.where(tuple_(Job.created_at, Job.id) < (last.created_at, last.id))
    ordered = found.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)
    jobs = list(await database.scalars(ordered))
    shown = [view(job) for job in jobs[:limit]]
    return TuningPage(
        data=shown,
        has_more=len(jobs) > limit,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
    )


def view(job: Job) -> TuningJob:
    return TuningJob(
        id=job.id,
        model=job.model,
        status=job.status,
        created_at=int(job.created_at.timestamp()),
        started_at=None,
        finished_at=None,
        training_file=job.training_file,
        validation_file=job.validation_file,
        hyperparameters=job.hyperparameters,
        suffix=job.suffix,
        metadata=job.job_metadata,
        fine_tuned_model=job.fine_tuned_model,
        error=job.error,
    )


@app.get("/health")
async def health() -> dict[str, Any]:
    return {"api": "ok"}
