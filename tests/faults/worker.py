"""A trainer worker as a process, to be killed or cut off by its test.

    python -m tests.faults.worker BOOTSTRAP STORE FOLDER NAME MODEL [--through PORT]

MODEL is a catalogue's entry as JSON. With `--through` connections to the broker go to that port.
It says `ready` once everything is imported, and begins at a line on standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import aiokafka.client
import msgspec

from app.catalogue.catalogue import CATALOGUE, Entry
from app.log.kafka import KafkaLog
from app.logs import configure
from app.settings import Settings
from app.storage.store import Store
from app.trainer_worker.worker import serve
from tests.faults.kafka_proxy import redirected


async def work(given: argparse.Namespace) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings(cache_dir=given.folder / "cache", checkpoint_seconds=0.1)
    store = Store(given.store)
    await serve(settings, KafkaLog(given.bootstrap), store, given.folder / "work", stop, given.name)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("store")
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("model")
    parser.add_argument("--through", type=int)
    given = parser.parse_args()
    configure("info")
    entry = msgspec.json.decode(given.model, type=Entry)
    CATALOGUE[entry.id] = entry
    if given.through:
        broker = int(given.bootstrap.rpartition(":")[2])
        aiokafka.client.create_conn = redirected(aiokafka.client.create_conn, broker, given.through)
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(work(given))


if __name__ == "__main__":
    main()
