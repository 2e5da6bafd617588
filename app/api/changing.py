"""A tuning changed by a command, whichever face of the api asks for it."""

from __future__ import annotations

import msgspec

from app.api.decisions import decided
from app.api.reading import Found, the_tuning
from app.api.session import Session
from app.domain.tunings import TUNINGS, CancelTuning, PauseTuning, ResumeTuning, Tuning, UpdateTuning

Change = CancelTuning | PauseTuning | ResumeTuning | UpdateTuning


async def changed(session: Session, id: str, command: Change) -> tuple[Found, int]:
    """The account's tuning after a command, and the status to answer with: 202 when reads lag behind.

    Raises `ApiError`. Each of these commands, sent again, changes nothing more.
    """
    before = await the_tuning(session, id)
    reply, seen = await decided(session, TUNINGS, id, command, certain=True)
    tuning = msgspec.json.decode(reply.state, type=Tuning)
    return Found(tuning, reply.version, before.told), 200 if seen else 202
