"""A command handler as a process, to be killed or stopped by its test.

    python -m tests.faults.handler BOOTSTRAP [--crash POINT --batches N] [--group] [--stream S]

It says `ready` once everything is imported, and begins at a line on standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from app.command_handler.partition import serve_partition
from app.command_handler.serve import serve
from app.domain.streams import STREAMS
from app.log.kafka import KafkaLog
from app.logs import configure
from tests.faults.crashes import POINTS, CrashingLog


async def handle(log: KafkaLog, stream: str, group: bool) -> None:
    """For ever: as a member of the group, or partition 0 alone."""
    if group:
        await serve(log, asyncio.Event(), [stream])
    else:
        await serve_partition(log, STREAMS[stream], 0, asyncio.Event())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("--crash", choices=POINTS)
    parser.add_argument("--batches", type=int, default=0)
    parser.add_argument("--group", action="store_true")
    parser.add_argument("--stream", default="tunings")
    given = parser.parse_args()
    configure("info")
    log = KafkaLog(given.bootstrap)
    if given.crash:
        log = CrashingLog(given.bootstrap, given.crash, given.batches)
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(handle(log, given.stream, given.group))


if __name__ == "__main__":
    main()
