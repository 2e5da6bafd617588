"""Events a second that the audit of a log verifies, beside bare aiokafka that only reads them.

    python -m benchmarks.replay [--jobs 6000] [--rounds 3]

The audit decodes every event, hashes its chain, folds it, and holds it against the state topic and the
replies, which it reads as well. The log holds whole lives of tunings, decided by the real command handler.
"""

from __future__ import annotations

import argparse
import time

from app.domain.tunings import TUNINGS
from app.log import topics
from app.log.audit import audit
from app.log.kafka import KafkaLog
from benchmarks import bulk
from benchmarks.draining import drain
from benchmarks.lives import COMMANDS_A_LIFE, commands
from benchmarks.report import median, table, written
from benchmarks.servers import run, running_broker

GOAL = 0.4


def main() -> None:
    parser = argparse.ArgumentParser(description="Events a second through the audit.")
    parser.add_argument("--jobs", type=int, default=6_000, help=f"with {COMMANDS_A_LIFE} events each")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with running_broker() as broker:
        pairs = run(lambda: _rounds(broker.bootstrap, given.jobs, given.rounds))
    figures = {
        "audit": median([audited for audited, _ in pairs]),
        "bare aiokafka": median([bare for _, bare in pairs]),
        "ratio": median([audited / bare for audited, bare in pairs]),
    }
    rows = [["audit", f"{figures['audit']:,.0f}"], ["bare aiokafka", f"{figures['bare aiokafka']:,.0f}"]]
    print(table(["", "events/s"], [*rows, ["ratio", f"{figures['ratio']:.2f}"]]))
    written("replay", figures, {f"{GOAL} x bare aiokafka": figures["ratio"] >= GOAL})


async def _rounds(bootstrap: str, jobs: int, rounds: int) -> list[tuple[float, float]]:
    await bulk.append(bootstrap, commands(jobs))
    await drain(bootstrap, jobs * COMMANDS_A_LIFE)
    log, pairs = KafkaLog(bootstrap), []
    for _ in range(rounds):
        began = time.perf_counter()
        found = await audit(log, [TUNINGS], {})
        audited = found.events / (time.perf_counter() - began)
        if found.wrong or found.events != jobs * COMMANDS_A_LIFE:
            raise RuntimeError(f"the log is not what it should be: {found}")
        count, seconds = await bulk.read(bootstrap, topics.events(TUNINGS.stream))
        pairs.append((audited, count / seconds))
    return pairs


if __name__ == "__main__":
    main()
