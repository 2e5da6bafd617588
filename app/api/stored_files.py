"""Files as the read model shows them, and stored bytes made into one, whichever way they came in."""

from __future__ import annotations

import msgspec

from app.api.decisions import decided
from app.api.errors import missing
from app.api.session import Session
from app.domain.files import FILES, File, RegisterFile

CHECKED_WITHIN = 10.0
CHECKED_VERSION = 2


async def find_file(session: Session, id: str, *, deleted: bool = False) -> File | None:
    """The account's uploaded file with this id; one that is deleted only if asked for."""
    state = await session.service.pool.fetchval(
        "SELECT state FROM files WHERE id = $1 AND account_id = $2 AND (status <> 'deleted' OR $3)",
        id,
        session.caller.account_id,
        deleted,
    )
    return msgspec.json.decode(state, type=File) if state is not None else None


async def the_file(session: Session, id: str) -> File:
    """The account's uploaded file with this id. Raises `ApiError` 404."""
    file = await find_file(session, id)
    if file is None:
        raise missing("file", id)
    return file


async def register(session: Session, id: str, command: RegisterFile, *, certain: bool) -> File:
    """Make stored bytes a file and wait some seconds for its check. Raises `ApiError`.

    Those of a repetition are freed; those of a refused command are the caller's to free.
    """
    commands, store = session.service.commands, session.service.store
    watch = commands.watch(id)
    try:
        reply, _ = await decided(session, FILES, id, command, certain=certain)
        file = msgspec.json.decode(reply.state, type=File)
        if file.key != command.key:
            await store.delete(command.key)  # uploaded before
        if file.status == "uploaded" and await commands.visible(id, CHECKED_VERSION, watch, CHECKED_WITHIN):
            file = await the_file(session, id)
    finally:
        commands.unwatch(id, watch)
    return file
