"""The log in memory keeps what every log must."""

from __future__ import annotations

import pytest

from app.log.memory import MemoryLog
from app.log.topics import declared
from tests.log_contract import LogContract


class TestMemoryLog(LogContract):
    @pytest.fixture
    def log(self) -> MemoryLog:
        return MemoryLog({topic.name: 3 for topic in declared("embedded")})
