"""What checkpoints cost a tuning: its seconds with those written and brought into the store, and without.

    python -m benchmarks.checkpoint_cost [--rows 64] [--rounds 2] [--every 2]

The same rows in the same batches, in turns. With them there are far more than usual, one every few steps, so
that the difference can be told from chance; what one of them costs is set against the usual time between two.
On a machine where others work too chance is larger than that. So the goal is held to what cannot be more: the
seconds that training waits for writing, and the processor's seconds that the upload takes from it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

from app.domain.tunings import Attempt
from app.log.memory import MemoryLog
from app.log.topics import declared
from app.storage.store import Store
from app.trainer_worker.checkpoints import Uploads
from app.trainer_worker.child import Child
from app.trainer_worker.reports import Reports
from app.trainer_worker.training import frames
from app.trainer_worker.training.plan import CHECKPOINT_SECONDS, Plan, Train
from benchmarks.plans import order_mails, planned
from benchmarks.report import median, table, written

ATTEMPT = Attempt(1, "worker", "session", 0)


def main() -> None:
    arguments = argparse.ArgumentParser(description="What checkpoints cost a tuning.")
    arguments.add_argument("--rows", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--every", type=int, default=2, help="steps from one checkpoint to the next")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        asyncio.run(compare(Path(folder), given.rows, given.rounds, given.every))


async def compare(folder: Path, rows: int, rounds: int, every: int) -> None:
    plan = planned(folder / "plan", order_mails(rows))
    differences, waits, uploads = [], [], []
    for number in range(rounds):
        plain, _ = await trained(plan, folder / f"without-{number}")
        before = time.process_time()
        kept, told = await trained(replace(plan, checkpoint_steps=every), folder / f"with-{number}")
        uploads.append((time.process_time() - before) / len(told))
        differences.append((kept - plain) / len(told))
        waits.append(median([one.seconds for one in told]))
        size = told[0].bytes / 1e6
        print(
            f"{plain:.1f} s without, {kept:.1f} s with {len(told)} checkpoints of {size:.0f} MB", flush=True
        )
    figures = {
        "difference": median(differences),
        "waited": median(waits),
        "upload": median(uploads),
        "share": (median(waits) + median(uploads)) / CHECKPOINT_SECONDS,
    }
    rows_of = [
        ["difference for each, s", f"{figures['difference']:.2f}"],
        ["training waits for each, s", f"{figures['waited']:.2f}"],
        ["processor for its upload, s", f"{figures['upload']:.2f}"],
        [f"both, of {CHECKPOINT_SECONDS:.0f} s", f"{figures['share']:.2%}"],
    ]
    print(table(["a checkpoint", ""], rows_of))
    written("checkpoint_cost", figures, {"training is slowed by at most 2 %": figures["share"] <= 0.02})


async def trained(plan: Plan, folder: Path) -> tuple[float, list[frames.Checkpointed]]:
    """The seconds of training of a child of its own, and its checkpoints, uploaded as a worker does it."""
    folder.mkdir()
    reports = Reports(MemoryLog({topic.name: 1 for topic in declared("embedded")}), ATTEMPT.worker)
    store = Store(f"file://{folder / 'objects'}")
    uploads = Uploads(plan.job_id, ATTEMPT, folder / "uploading", store, reports)
    uploading = asyncio.create_task(uploads.run())
    child = await Child.start(folder / "child.log")
    told: list[frames.Checkpointed] = []
    try:
        await child.until_ready()
        await child.send(Train(replace(plan, output_dir=str(folder / "output"))))
        while True:
            match await child.next_frame():
                case frames.Checkpointed() as one:
                    told.append(one)
                    uploads.offer(Path(one.folder))
                case frames.Saved(seconds=seconds):
                    return seconds, told
                case frames.Failed(message=message):
                    raise SystemExit(message)
    finally:
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
        await child.stop()
        await reports.close()


if __name__ == "__main__":
    main()
