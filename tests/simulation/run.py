"""One run: chaos for a while, then calm, then all must be as if nothing had happened."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from msgspec import Struct

from app.command_handler.serve import GaveUp, serve
from app.domain.decider import Accepted, Context, Recorded
from app.domain.tunings import TUNINGS
from app.log import bounds, topics
from app.log.audit import audit
from app.log.codec import read_command, read_event
from app.log.memory import MemoryLog
from app.log.port import LogError, Partition, read_all
from app.log.topics import declared
from app.projections.projector import project
from tests.faults.story import Sent, story
from tests.simulation.faults import CALM, FaultyLog, Life, World
from tests.simulation.loop import VirtualLoop
from tests.simulation.model import MemoryModel, ModelOf

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CHAOS_SECONDS = 20.0
CALM_WITHIN = 300.0
JOBS = 3
HANDLERS = PROJECTORS = 2
SMALL_BATCH = 2


class Ran(Struct, frozen=True):
    """What happened, step by step, and the digest of that."""

    trace: list[str]

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class Wrong(AssertionError):
    """What must hold does not; the steps that led there are in `trace`."""

    def __init__(self, what: str, trace: list[str]) -> None:
        super().__init__(what)
        self.trace = trace


def run(seed: int, partitions: int = 1) -> Ran:
    """Run one seed. Raises `Wrong`.

    With small batches, on every other seed, a handler has a backlog again and again.
    """
    structlog.configure([_drop], structlog.make_filtering_bound_logger(logging.CRITICAL))
    random.seed(seed)  # the handler's jitter
    largest_batch = bounds.LARGEST_BATCH
    bounds.LARGEST_BATCH = SMALL_BATCH if seed % 2 else largest_batch
    loop = VirtualLoop()
    world = World(seed, MemoryLog({topic.name: partitions for topic in declared("embedded")}, lambda: BEGAN))
    world.log._now = lambda: BEGAN + timedelta(seconds=loop.time())
    try:
        loop.run_until_complete(_run(world))
    except Exception as error:
        raise Wrong(f"seed {seed}: {error!r}", world.trace) from error
    finally:
        loop.run_until_complete(_end_all())
        loop.close()
        structlog.reset_defaults()
        bounds.LARGEST_BATCH = largest_batch
    return Ran(world.trace)


async def _end_all() -> None:
    """What stands still for ever because its process is dead."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


async def _run(world: World) -> None:
    model = MemoryModel()
    lives: list[asyncio.Task[None]] = [
        *(asyncio.create_task(_handlers(world, f"handler-{n}")) for n in range(HANDLERS)),
        *(asyncio.create_task(_projectors(world, f"projector-{n}", model)) for n in range(PROJECTORS)),
        asyncio.create_task(_intruders(world)),
    ]
    sending = [asyncio.create_task(_send(world, story(f"job-{n}"))) for n in range(JOBS)]
    try:
        await asyncio.sleep(CHAOS_SECONDS)
        await asyncio.gather(*sending)
        world.chances = CALM
        async with asyncio.timeout(CALM_WITHIN):
            while not await _settled(world, model):
                await asyncio.sleep(1.0)
                for life in lives:
                    if life.done():
                        life.result()
        await _hold(world, model)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


async def _send(world: World, commands: list[Sent]) -> None:
    """A client: it waits a little, says things twice, and now and then mixes them up."""
    writer = await world.log.writer()
    commands = list(commands)
    for place in range(1, len(commands) - 1):
        if world.random.random() < 0.1:
            commands[place], commands[place + 1] = commands[place + 1], commands[place]
    for place, one in enumerate(commands):
        await asyncio.sleep(world.random.expovariate(0.8))
        await writer.send(one.record())
        while world.random.random() < 0.2:
            await writer.send(commands[world.random.randrange(place + 1)].record())


async def _handlers(world: World, name: str) -> None:
    """One command handler after the other, as a supervisor of processes has it."""
    number = 0
    while True:
        number += 1
        life = Life(world, f"{name}.{number}")
        serving = asyncio.create_task(serve(FaultyLog(life), asyncio.Event(), ["tunings"]))
        await _until_over(life, serving, (GaveUp, LogError))
        await asyncio.sleep(world.random.uniform(0.5, 2.0))


async def _projectors(world: World, name: str, model: MemoryModel) -> None:
    number = 0
    while True:
        number += 1
        life = Life(world, f"{name}.{number}")
        log = FaultyLog(life)
        count = await world.log.partition_count(topics.events("tunings"))
        events = [Partition(topics.events("tunings"), index) for index in range(count)]

        async def follow(log: Any = log, life: Life = life, events: list[Partition] = events) -> None:
            async with asyncio.TaskGroup() as tasks:
                for partition in events:
                    tasks.create_task(project(log, ModelOf(model, life), partition, asyncio.Event()))

        await _until_over(life, asyncio.create_task(follow()), (LogError,))
        await asyncio.sleep(world.random.uniform(0.2, 2.0))


async def _until_over(life: Life, working: asyncio.Task[None], ends: tuple[type[Exception], ...]) -> None:
    """Wait for a process's death, or for its end by itself."""
    dying = asyncio.create_task(life.died.wait())
    try:
        await asyncio.wait([working, dying], return_when=asyncio.FIRST_COMPLETED)
        if working.done() and not life.died.is_set():
            life.kill()
            error = working.exception()
            if error is not None and not isinstance(error, ends):
                raise error
    finally:
        for task in (working, dying):
            task.cancel()  # of what is dead nothing but its memory is freed: it takes no further step
        await asyncio.gather(working, dying, return_exceptions=True)


async def _intruders(world: World) -> None:
    """Now and then somebody takes a partition who is no member of the group."""
    while True:
        await asyncio.sleep(world.random.expovariate(0.1))
        if world.chances is CALM:
            return
        count = await world.log.partition_count(topics.commands("tunings"))
        id = f"tunesmith-tunings-{world.random.randrange(count)}"
        world.tell("intruder", f"fences {id}")
        await world.log.transactional_writer(id)


async def _settled(world: World, model: MemoryModel) -> bool:
    """Whether every command has a reply, and the read model every event."""
    replied = {one.key async for one in read_all(world.log, topics.REPLIES)}
    asked = {one.header("ce_id") async for one in read_all(world.log, topics.commands("tunings"))}
    if asked - replied:
        return False
    async for one in read_all(world.log, topics.events("tunings")):
        if model.checkpoints.get(one.partition, 0) <= one.offset:
            return False
    return True


async def _hold(world: World, model: MemoryModel) -> None:
    """What must be true of the log and of the read model."""
    found = await audit(world.log, [TUNINGS], {"tunings": [model.copy()]})
    assert found.wrong == {}, found.wrong
    made: dict[str, list[tuple[str, Any]]] = {}
    async for one in read_all(world.log, topics.events("tunings")):
        event = read_event(TUNINGS, one)
        made.setdefault(event.aggregate_id, []).append((event.causation_id, event.body))
    expected = await _expected(world)
    assert made == expected, "the events are not what the commands make, in the order of the log"
    assert model.rows.keys() == expected.keys()


async def _expected(world: World) -> dict[str, list[tuple[str, Any]]]:
    """What the decider alone makes of the commands as they lie on the log, each decided once."""
    made: dict[str, list[tuple[str, Any]]] = {}
    states: dict[str, Any] = {}
    accepted: set[str] = set()
    async for one in read_all(world.log, topics.commands("tunings")):
        command = read_command(TUNINGS, one)
        if command.id in accepted:
            continue
        id, state = command.aggregate_id, states.get(command.aggregate_id)
        decision = TUNINGS.decide(state, command.body, Context(command.id, id, command.actor, command.at))
        if not isinstance(decision, Accepted):
            continue
        accepted.add(command.id)
        for event in decision.events:
            version = len(made.setdefault(id, [])) + 1
            state = TUNINGS.evolve(state, event, Recorded(id, version, command.at))
            made[id].append((command.id, event))
        states[id] = state
    return made
