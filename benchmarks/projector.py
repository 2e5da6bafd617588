"""Events a second that the projector applies: rebuilding a read model, and catching one up.

    python -m benchmarks.projector [--jobs 6000] [--rounds 3]

The log holds whole lives of tunings, decided by the real command handler. A rebuild makes a new read model
beside the serving one and puts it in its place; catching up lets the serving one follow from the beginning.
Beside both, bare aiokafka reads the same topic.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import asyncpg

from app.domain.tunings import TUNINGS
from app.log import topics
from app.log.kafka import KafkaLog
from app.projections import read_model
from benchmarks import bulk
from benchmarks.draining import drain
from benchmarks.lives import COMMANDS_A_LIFE, commands
from benchmarks.report import median, table, written
from benchmarks.servers import run, running_broker, running_database

GOAL = 10_000
CATCHES_UP_WITHIN = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Events a second into the read model.")
    parser.add_argument("--jobs", type=int, default=6_000, help=f"with {COMMANDS_A_LIFE} events each")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with running_broker() as broker, running_database() as dsn:
        rounds = run(lambda: _rounds(broker.bootstrap, dsn, given.jobs, given.rounds))
    figures = {name: median([one[name] for one in rounds]) for name in rounds[0]}
    print(table(["", "events/s"], [[name, f"{value:,.0f}"] for name, value in figures.items()]))
    written("projector", figures, {f"rebuilding: {GOAL:,} events/s": figures["rebuilding"] >= GOAL})


async def _rounds(bootstrap: str, dsn: str, jobs: int, rounds: int) -> list[dict[str, float]]:
    await bulk.append(bootstrap, commands(jobs))
    await drain(bootstrap, jobs * COMMANDS_A_LIFE)
    log = KafkaLog(bootstrap)
    await read_model.prepare(dsn)
    await read_model.rebuild(log, dsn)
    measured = []
    for _ in range(rounds):
        rebuilding = await _rebuilt(log, dsn)
        catching_up = await _caught_up(log, dsn, jobs)
        count, seconds = await bulk.read(bootstrap, topics.events(TUNINGS.stream))
        measured.append(
            {"rebuilding": rebuilding, "catching up": catching_up, "bare aiokafka": count / seconds}
        )
    return measured


async def _rebuilt(log: KafkaLog, dsn: str) -> float:
    began = time.perf_counter()
    applied = await read_model.rebuild(log, dsn)
    return applied / (time.perf_counter() - began)


async def _caught_up(log: KafkaLog, dsn: str, jobs: int) -> float:
    """The serving model is emptied, then followed up by the role itself."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "read"})
    try:
        await connection.execute("TRUNCATE tunings, tuning_events, checkpoints, result_files, tuned_models")
        stop = asyncio.Event()
        began = time.perf_counter()
        serving = asyncio.create_task(read_model.serve(log, dsn, stop))
        async with asyncio.timeout(CATCHES_UP_WITHIN):
            while await connection.fetchval("SELECT count(*) FROM tuned_models") < jobs:
                await asyncio.sleep(0.1)
        seconds = time.perf_counter() - began
        stop.set()
        await serving
        return jobs * COMMANDS_A_LIFE / seconds
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
