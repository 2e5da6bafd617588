"""Making the declared topics, and telling how a broker's differ from them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from msgspec import Struct

from app.log.access import OPEN, Access
from app.log.kafka_clients import administrator
from app.log.port import Unavailable
from app.log.topics import Topic

ADMIN_WITHIN = 30.0
ALREADY_EXISTS = 36


class Drift(Struct, frozen=True):
    """One way in which a topic is not as declared."""

    topic: str
    what: str
    declared: str
    found: str


async def apply(bootstrap: str, declared: Sequence[Topic], access: Access = OPEN) -> list[Drift]:
    """Make the missing topics; what the others differ in is told, and left as it is. Raises `Unavailable`."""
    async with administrator(_options(bootstrap, access), "make topics", ADMIN_WITHIN) as admin:
        existing = set(await admin.list_topics())
        missing = [topic for topic in declared if topic.name not in existing]
        if missing:
            answer = await admin.create_topics(
                [
                    NewTopic(topic.name, topic.partitions, topic.replication, topic_configs=topic.config)
                    for topic in missing
                ]
            )
            for name, code, *rest in answer.topic_errors:
                if code not in (0, ALREADY_EXISTS):
                    raise Unavailable(f"topic {name} could not be made: {for_code(code).__name__} {rest}")
            # The controller's answer comes before the broker's own metadata has the topics.
            while {topic.name for topic in missing} - set(await admin.list_topics()):
                await asyncio.sleep(0.02)
    return await drift(bootstrap, declared, access)


async def drift(bootstrap: str, declared: Sequence[Topic], access: Access = OPEN) -> list[Drift]:
    """How the broker's topics differ from the declared ones. Raises `Unavailable`."""
    found: list[Drift] = []
    async with administrator(_options(bootstrap, access), "describe topics", ADMIN_WITHIN) as admin:
        existing = set(await admin.list_topics())
        present = [topic for topic in declared if topic.name in existing]
        found += [
            Drift(topic.name, "topic", "present", "missing")
            for topic in declared
            if topic.name not in existing
        ]
        if not present:
            return found
        counts = {
            one["topic"]: len(one["partitions"])
            for one in await admin.describe_topics([topic.name for topic in present])
        }
        configs = await _configs(admin, [topic.name for topic in present])
    for topic in present:
        if counts[topic.name] != topic.partitions:
            found.append(Drift(topic.name, "partitions", str(topic.partitions), str(counts[topic.name])))
        for name, value in topic.config.items():
            if (actual := configs[topic.name].get(name)) != value:
                found.append(Drift(topic.name, name, value, str(actual)))
    return found


def _options(bootstrap: str, access: Access) -> dict[str, Any]:
    return {"bootstrap_servers": bootstrap, **access.options()}


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }
