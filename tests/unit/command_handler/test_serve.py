"""The command handler on the log in memory."""

from __future__ import annotations

import pytest

from app.log.memory import MemoryLog
from app.log.topics import declared
from tests.handler_contract import HandlerContract


class TestOnMemory(HandlerContract):
    @pytest.fixture
    def log(self) -> MemoryLog:
        return MemoryLog({topic.name: 3 for topic in declared("embedded")})
