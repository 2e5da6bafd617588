"""The AsyncAPI document: every channel, who writes and reads it, every message with its headers."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from app.domain.streams import STREAMS
from app.domain.tunings import HandBackAttempt, PauseAttempt, RunAttempt, StopAttempt
from app.log import topics
from app.log.codec import CHAINED, Reply
from app.log.metrics import PHASE, STEP, Phase, Step
from app.log.queue import QueuePlace
from app.log.upcasters import UPCASTERS
from app.log.workers import Control, Heartbeat

PROFILE = "embedded"
CHAIN = f"""\
An event's `ce_chain` is SHA-256, in lowercase hex, over these parts in this order: the `ce_chain` of the
event before it in its aggregate (64 zeros for the first), then the values of the headers
{", ".join(f"`{name}`" for name in CHAINED)},
then the record's value. Each part is preceded by its length in bytes, in decimal, and a colon. All are the
bytes as they lie on the log. `examples/verify_log.py` does it in a few lines.
"""
ABOUT = f"""\
Every message is a CloudEvent 1.0 in Kafka's binary mode: attributes in `ce_*` headers, JSON in the value.
Dispatch on `ce_type` before decoding. Readers are to pass over types and fields that they do not know: a new
field comes with a default, anything else with a new type (`.v2`); what was released stays as it is.

Events are kept for ever. Those of one aggregate lie in one partition, in order, their versions
(`ce_sequence`) contiguous from 1; drop what was seen by (`ce_subject`, `ce_sequence`), and stop on a gap.
Read committed records only (`isolation.level=read_committed`).

{CHAIN}"""

HEADERS = {
    "ce_specversion": "Always 1.0.",
    "ce_id": "What tells it apart: `<aggregate id>:<version>` of an event, the command's id of a command.",
    "ce_type": "The message's name here.",
    "ce_source": "Who made it, as a path.",
    "ce_subject": "What it is about: the aggregate's id, or the worker's.",
    "ce_time": "RFC 3339, UTC, microseconds. Never goes back within an aggregate.",
    "ce_sequence": "The version, decimal, contiguous from 1 within the aggregate.",
    "ce_causationid": "The command that caused it.",
    "ce_correlationid": "The request that began it.",
    "ce_actor": "Who asked: `key:<id>`, `worker:<id>` or `system:<role>`.",
    "ce_chain": "The event's hash; see the document's description.",
    "content-type": "application/json",
}
ALWAYS = ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "content-type")
OF_KIND = {
    "events": (*CHAINED, "ce_chain", "content-type"),
    "commands": (*ALWAYS, "ce_correlationid", "ce_actor"),
    "replies": (*ALWAYS, "ce_causationid"),
    "work": (*ALWAYS, "ce_causationid", "ce_correlationid"),
    "metrics": (*ALWAYS, "ce_actor"),
    "workers": ALWAYS,
    "queue": ALWAYS,
}
ABOUT_TOPICS = {
    "commands": "What is asked of the {stream}. A command is decided once, and answered on `replies`.",
    "events": "What happened to the {stream}: the truth, kept for ever.",
    "state": "The {stream} as the command handler last left them, a cache of the events for itself and the "
    "scheduler. Not for others: its form changes with every version.",
    "replies": "The answer to each command, kept for a day.",
    "work": "Orders for trainer workers, keyed by worker. Each holds for one session of it.",
    "workers": "Heartbeats of trainer workers, keyed by worker, and beside them what operator or scheduler "
    "decided about one, keyed `<worker>!control`; the last one counts, none where there is no value.",
    "queue": "Where each waiting job stands; no value once it waits no longer.",
    "metrics": "Steps and phases of running attempts, keyed by job, kept for 30 days. No transitions.",
}


class Message(Struct, frozen=True):
    """A message type: its name, what its value is, and the kind of topic that it is on."""

    name: str
    payload: type
    kind: str


def messages(topic: str) -> list[Message]:
    """Every message that may lie on a topic."""
    *stream, kind = topic.removeprefix("tunesmith.").removesuffix(".v1").split(".")
    if not stream:
        replies = [Message(f"tunesmith.{one.noun}.reply.v1", Reply, kind) for one in STREAMS.values()]
        orders = {"run": RunAttempt, "stop": StopAttempt, "pause": PauseAttempt, "hand_back": HandBackAttempt}
        return {
            topics.REPLIES: replies,
            topics.WORK: [Message(f"tunesmith.work.{name}.v1", one, kind) for name, one in orders.items()],
            topics.WORKERS: [
                Message("tunesmith.worker.heartbeat.v1", Heartbeat, kind),
                Message("tunesmith.worker.control.v1", Control, kind),
            ],
            topics.QUEUE: [Message("tunesmith.queue.place.v1", QueuePlace, kind)],
            topics.METRICS: [Message(STEP, Step, kind), Message(PHASE, Phase, kind)],
        }[topic]
    decider = STREAMS[stream[0]]
    if kind == "commands":
        return [Message(name, one, kind) for name, one in decider.commands.items()]
    if kind == "events":
        older = {name: one.held for name, one in UPCASTERS.items() if one.becomes in decider.events}
        return [Message(name, one, kind) for name, one in (older | decider.events).items()]
    return []


def document() -> dict[str, Any]:
    """The whole document."""
    declared = topics.declared(PROFILE)
    found = {topic.name: messages(topic.name) for topic in declared}
    every = {one.name: one for some in found.values() for one in some}
    references, schemas = _schemas(every.values())
    return {
        "asyncapi": "3.1.0",
        "info": {"title": "Tunesmith's message log", "version": "1", "description": ABOUT},
        "defaultContentType": "application/json",
        "channels": {_short(topic.name): _channel(topic, found[topic.name]) for topic in declared},
        "operations": dict(_operations(declared)),
        "components": {
            "messages": {name: _message(one, references[one.payload]) for name, one in every.items()},
            "schemas": {f"{kind}-headers": _headers(names) for kind, names in OF_KIND.items()} | schemas,
        },
    }


def _short(topic: str) -> str:
    return topic.removeprefix("tunesmith.").removesuffix(".v1")


def _channel(topic: topics.Topic, found: list[Message]) -> dict[str, Any]:
    stream, _, kind = _short(topic.name).rpartition(".")
    kept = {name: value for name, value in topic.config.items() if name in ("cleanup.policy", "retention.ms")}
    return {
        "address": topic.name,
        "description": ABOUT_TOPICS[kind].format(stream=stream),
        "messages": {one.name: {"$ref": f"#/components/messages/{one.name}"} for one in found},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {
                    "cleanup.policy": kept["cleanup.policy"].split(","),
                    **({"retention.ms": int(kept["retention.ms"])} if "retention.ms" in kept else {}),
                },
            }
        },
    }


def _operations(declared: Iterable[topics.Topic]) -> Iterable[tuple[str, dict[str, Any]]]:
    for topic in declared:
        channel = {"$ref": f"#/channels/{_short(topic.name)}"}
        for role in topic.writers:
            yield f"{role}.writes.{_short(topic.name)}", {"action": "send", "channel": channel}
        for role in topic.readers:
            yield f"{role}.reads.{_short(topic.name)}", {"action": "receive", "channel": channel}


def _message(one: Message, reference: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": one.name,
        "description": inspect.getdoc(one.payload) or "",
        "headers": {"$ref": f"#/components/schemas/{one.kind}-headers"},
        "payload": reference,
        "bindings": {"kafka": {"key": {"type": "string"}}},
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": HEADERS[name]} for name in names}
    return {"type": "object", "required": list(properties), "properties": properties}


def _schemas(every: Iterable[Message]) -> tuple[dict[type, dict[str, Any]], dict[str, Any]]:
    """How each payload is referred to, and all of the schemas by name."""
    payloads = {one.payload: one for one in every}
    times = Counter(kind.__name__ for kind in payloads)
    shown = [
        _shown(kind, kind.__name__ if times[kind.__name__] == 1 else _with_its_noun(one))
        for kind, one in payloads.items()
    ]
    references, schemas = msgspec.json.schema_components(shown, ref_template="#/components/schemas/{name}")
    return dict(zip(payloads, references, strict=True)), dict(sorted(schemas.items()))


def _with_its_noun(one: Message) -> str:
    """A name that two nouns' messages do not share."""
    return one.name.split(".")[1].title() + one.payload.__name__


def _shown(kind: type, name: str) -> type:
    """The struct by this name, with anything for what it takes unread, for which msgspec has no schema."""
    fields = msgspec.structs.fields(kind)
    if name == kind.__name__ and all(field.type is not msgspec.Raw for field in fields):
        return kind
    shown: list[Any] = []
    for field in fields:
        if field.type is msgspec.Raw:
            shown.append((field.name, Any, None))
        else:
            shown.append((field.name, field.type, *(() if field.required else (field.default,))))
    return msgspec.defstruct(name, shown, namespace={"__doc__": kind.__doc__}, frozen=True)
