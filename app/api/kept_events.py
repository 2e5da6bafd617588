"""Events as the read model keeps them."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.tunings import TUNINGS


def read_body(row: Any) -> Any:
    """The event in a row of `tuning_events`."""
    return msgspec.json.decode(row["body"], type=TUNINGS.events[row["type"]])
