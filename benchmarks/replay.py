"""Events a second that `log verify` and `log replay` get through, beside bare aiokafka that only reads them.

    python -m benchmarks.replay [--jobs 6000] [--rounds 3]

The audit decodes every event, hashes its chain, folds it, and holds it against the state topic and the
replies, which it reads as well: three records for each event. A replay goes through all events for those of
one job. The log holds whole lives of tunings, decided by the real command handler.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from msgspec import Struct

from app.domain.ids import derive_id
from app.domain.tunings import TUNINGS
from app.log import topics
from app.log.audit import audit
from app.log.history import history_of
from app.log.kafka import KafkaLog
from benchmarks import bulk
from benchmarks.draining import drain
from benchmarks.lives import COMMANDS_A_LIFE, commands
from benchmarks.report import median, table, written
from benchmarks.servers import run, running_broker

GOAL = 0.4
NAMES = {"verify": "verify", "replay": "replay", "bare_of_all": "bare aiokafka, states and replies as well"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Events a second through the audit.")
    parser.add_argument("--jobs", type=int, default=6_000, help=f"with {COMMANDS_A_LIFE} events each")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with running_broker() as broker:
        rounds = run(lambda: _rounds(broker.bootstrap, given.jobs, given.rounds))
    bare = median([one.bare for one in rounds])
    figures: dict[str, Any] = {"bare aiokafka": bare}
    rows = [["bare aiokafka", f"{bare:,.0f}", ""]]
    for name in ("verify", "replay", "bare_of_all"):
        speed = median([getattr(one, name) for one in rounds])
        ratio = median([getattr(one, name) / one.bare for one in rounds])
        figures[name] = {"events_per_second": speed, "ratio": ratio}
        rows.append([NAMES[name], f"{speed:,.0f}", f"{ratio:.2f}"])
    print(table(["", "events/s", "x bare"], rows))
    goals = {
        f"{name}: {GOAL} x bare aiokafka": figures[name]["ratio"] >= GOAL for name in ("verify", "replay")
    }
    written("replay", figures, goals)


class Round(Struct, frozen=True):
    """Events a second; `bare_of_all` reads all that the audit does, `bare` the events only."""

    verify: float
    replay: float
    bare: float
    bare_of_all: float


async def _rounds(bootstrap: str, jobs: int, rounds: int) -> list[Round]:
    await bulk.append(bootstrap, commands(jobs))
    count = jobs * COMMANDS_A_LIFE
    await drain(bootstrap, count)
    log, found = KafkaLog(bootstrap), []
    for number in range(rounds):
        began = time.perf_counter()
        audited = await audit(log, [TUNINGS], {})
        verified = time.perf_counter()
        if audited.wrong or audited.events != count:
            raise RuntimeError(f"the log is not what it should be: {audited}")
        history = await history_of(log, [TUNINGS], derive_id("job", str(number)))
        replayed = time.perf_counter()
        if history is None or len(history[1]) != COMMANDS_A_LIFE:
            raise RuntimeError(f"the history is not what it should be: {history}")
        read, seconds = await bulk.read(bootstrap, topics.events(TUNINGS.stream))
        beside = [
            (await bulk.read(bootstrap, topic))[1] for topic in (topics.state(TUNINGS.stream), topics.REPLIES)
        ]
        found.append(
            Round(
                count / (verified - began),
                count / (replayed - verified),
                read / seconds,
                read / (seconds + sum(beside)),
            )
        )
    return found


if __name__ == "__main__":
    main()
