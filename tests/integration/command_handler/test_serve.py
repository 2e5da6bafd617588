"""The command handler on a real broker."""

from __future__ import annotations

import pytest

from app.log.kafka import KafkaLog
from tests.handler_contract import HandlerContract
from tests.servers import RemakeTopics


class TestOnKafka(HandlerContract):
    @pytest.fixture
    async def log(self, remake_topics: RemakeTopics) -> KafkaLog:
        return KafkaLog(await remake_topics(3))
