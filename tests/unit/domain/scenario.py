"""Given – when – then: past events, a command, and what must follow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.domain.decider import Accepted, Context, Decider, Recorded, Rejection

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Scenario:
    """One aggregate's story, told to its decider."""

    def __init__(self, decider: Decider, id: str, *past: Any) -> None:
        self.decider, self.id, self.version = decider, id, 0
        self.state: Any = None
        self._evolve(past)

    def _evolve(self, events: tuple[Any, ...]) -> None:
        for event in events:
            self.version += 1
            self.state = self.decider.evolve(self.state, event, Recorded(self.id, self.version, AT))

    def when(self, command: Any, actor: str = "system:test") -> Accepted | Rejection:
        """Decide a command; what it makes happen has happened afterwards."""
        decision = self.decider.decide(self.state, command, Context("cmd-1", self.id, actor, AT))
        if isinstance(decision, Accepted):
            self._evolve(decision.events)
        return decision

    def then(self, command: Any) -> tuple[Any, ...]:
        """The events of a command that must be accepted."""
        decision = self.when(command)
        assert isinstance(decision, Accepted), decision
        return decision.events

    def refused(self, command: Any, actor: str = "system:test") -> Rejection:
        """The refusal of a command that must be refused."""
        decision = self.when(command, actor)
        assert isinstance(decision, Rejection), decision
        return decision
