"""Make the tables, and in them a user with a key, a model and a file: `python -m … KEY`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from benchmarks.reference_stack.tables import ApiKey, Base, File, Model, User


async def prepare(key: str) -> None:
    engine = create_async_engine(os.environ["REFERENCE_DATABASE"])
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session, session.begin():
        session.add_all([User(id="user-a", is_active=True), Model(id="base-model", revision="r1")])
        await session.flush()
        digest = hashlib.sha256(key.encode()).hexdigest()
        session.add(ApiKey(id="key-a", sha256=digest, user_id="user-a"))
        session.add(File(id="file-a", user_id="user-a", status="processed", rows=10))
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(prepare(sys.argv[1]))
