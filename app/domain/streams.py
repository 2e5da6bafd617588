"""The four streams, each with its decider."""

from __future__ import annotations

from app.domain.accounts import ACCOUNTS
from app.domain.decider import Decider
from app.domain.files import FILES
from app.domain.models import MODELS
from app.domain.tunings import TUNINGS

STREAMS: dict[str, Decider] = {decider.stream: decider for decider in (TUNINGS, FILES, MODELS, ACCOUNTS)}
