"""The main job, end to end: start everything, tune a real model on real rows, and show that it learned.

    python -m examples.order_mails.demo [--data-dir DIR] [--keep]

Exits with 0 only if the tuned model answers at least 70 % of the held-out mails exactly, and at least 40
more than the base model under the same prompt; with 130 when it was interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table
from tunesmith import APIError, TuningClient, TuningJob
from tunesmith.cli.progress import show_progress

from examples.order_mails.score import Answer, right
from examples.verify_log import verify

HERE = Path(__file__).parent
SERVER = Path(sys.executable).with_name("tunesmith-server")
MODEL = "smollm2-135m-instruct"
HYPERPARAMETERS = {"rank": 16, "epochs": 1, "batch_size": 4, "learning_rate": 1e-3}
SEED = 7
LEAST_SCORE, LEAST_GAIN = 0.70, 0.40
READY_WITHIN, STOPS_WITHIN = 600.0, 60.0
SHOWN_ANSWERS = 8
EVENTS_TOPIC = "tunesmith.tunings.events.v1"

console = Console()


class DemoFailed(Exception):
    """A step did not do what it should; the sentence says which."""


def main() -> int:
    """Run the demo; its exit status."""
    arguments = argparse.ArgumentParser(description="Tune a real language model on real rows, end to end.")
    arguments.add_argument(
        "--data-dir", type=Path, default=Path(".tunesmith/demo"), help="reused by a second run"
    )
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    try:
        with running_service(given.data_dir) as (url, key):
            run(url, key, given.data_dir)
    except KeyboardInterrupt:
        console.print("\n[yellow]interrupted; everything is stopped[/]")
        return 130
    except (DemoFailed, APIError) as error:
        console.print(f"[red]the demo failed:[/] {error}")
        return 1
    if left := [child for child in psutil.Process().children(recursive=True) if child.is_running()]:
        console.print(f"[red]processes were left behind:[/] {left}")
        return 1
    console.print(f"[green]done[/] in {time.monotonic() - began:.0f} s; nothing is left running")
    return 0


def run(url: str, key: str, data_dir: Path) -> None:
    """With the service up: tune, download, score, show the log. Raises `DemoFailed`."""
    with TuningClient(key, base_url=url) as client:
        cancel_unfinished(client)
        step("uploading the training and validation rows")
        training = client.files.upload(HERE / "train.jsonl")
        validation = client.files.upload(HERE / "validation.jsonl")
        for file in (training, validation):
            console.print(f"  {file.id}  {file.filename}  {file.bytes} bytes  {file.status}")
        step(f"creating a LoRA tuning of {MODEL}")
        job = client.tunings.create(
            MODEL,
            training.id,
            HYPERPARAMETERS,
            validation_file=validation.id,
            suffix="order-mails",
            seed=SEED,
        )
        console.print(f"  {job.id}")
        ended = show_progress(client, job.id, console)
        if ended.status != "succeeded":
            raise DemoFailed(f"the tuning ended {ended.status}: {ended.error}")
        step("downloading the adapter")
        adapter = data_dir / "adapters" / job.id
        job.download_adapter(adapter)
        console.print(f"  {adapter}: {', '.join(sorted(path.name for path in adapter.iterdir()))}")
    step("asking base and tuned model for the held-out mails")
    answers = scored(adapter)
    base, tuned = (
        sum(right(said, one.expected) for one, said in pairs) / len(answers) for pairs in sides(answers)
    )
    show_answers(answers, base, tuned)
    step("the tuning's events, as a plain Kafka consumer finds them on the log")
    asyncio.run(show_events(data_dir, ended))
    if tuned < LEAST_SCORE or tuned - base < LEAST_GAIN:
        raise DemoFailed(f"the tuned model scored {tuned:.0%}, the base model {base:.0%}: not clearly better")


def cancel_unfinished(client: TuningClient) -> None:
    """An interrupted run leaves its tuning behind, which would now go before ours."""
    for status in ("pending", "running"):
        for job in client.tunings.iter(status=status):
            console.print(f"  cancelling {job.id}, which an interrupted run left {job.status}")
            job.cancel()


def step(text: str) -> None:
    console.print(f"[bold cyan]▸[/] [bold]{text}[/]")


@contextmanager
def running_service(data_dir: Path) -> Iterator[tuple[str, str]]:
    """`tunesmith-server up` on a free port, with its log in the data folder; url and admin key."""
    step("starting Tunesmith: Kafka broker, PostgreSQL and all roles")
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "demo.log"
    server = subprocess.Popen(
        [str(SERVER), "up", "--data-dir", str(data_dir), "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches us; we stop it in order
    )
    reading = threading.Thread(target=follow_log, args=(server, log), daemon=True)
    reading.start()
    try:
        yield until_ready(server, log), (data_dir / "admin.key").read_text().strip()
        step("stopping everything")
    finally:
        stop(server)
        reading.join(timeout=5)


def follow_log(server: subprocess.Popen[str], log: Path) -> None:
    """Keep the service's log, and show its slow steps."""
    assert server.stderr is not None
    with log.open("w") as out:
        for line in server.stderr:
            out.write(line)
            out.flush()
            if '"event": "progress"' in line:
                console.print(f"  {json.loads(line)['step']}", style="dim")


def until_ready(server: subprocess.Popen[str], log: Path) -> str:
    """The service's url, once it says that it is ready. Raises `DemoFailed`."""
    assert server.stdout is not None
    timer = threading.Timer(READY_WITHIN, server.kill)
    timer.start()
    try:
        line = server.stdout.readline()
    finally:
        timer.cancel()
    if not line.startswith("READY "):
        server.wait(timeout=STOPS_WITHIN)
        last = log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise DemoFailed(f"the service did not start: {last[0]} (see {log})")
    console.print(f"  {line.strip()}")
    return line.split()[1]


def stop(server: subprocess.Popen[str]) -> None:
    """End the service and all that it runs; a second Ctrl-C does not cut that short."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(timeout=STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def scored(adapter: Path) -> list[Answer]:
    """Both models' answers, by a process of its own that knows stock transformers and peft only."""
    from app.catalogue.at_hand import model_folder
    from app.catalogue.catalogue import CATALOGUE
    from app.settings import Settings

    model = model_folder(Settings.from_env(os.environ).cache_dir, CATALOGUE[MODEL])
    scorer = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "examples.order_mails.score",
            str(model),
            str(adapter),
            str(HERE / "heldout.jsonl"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
    )
    try:
        with console.status("loading both models and answering"):
            out, err = scorer.communicate()
    except BaseException:
        scorer.kill()
        scorer.wait()
        raise
    if scorer.returncode != 0:
        raise DemoFailed(f"the scoring failed: {err.strip().splitlines()[-1:]}")
    return [Answer(**one) for one in json.loads(out)]


def sides(answers: list[Answer]) -> tuple[list[tuple[Answer, str]], list[tuple[Answer, str]]]:
    """Each answer of the base model, and each of the tuned one."""
    return [(one, one.base) for one in answers], [(one, one.tuned) for one in answers]


def show_answers(answers: list[Answer], base: float, tuned: float) -> None:
    """Side by side: what was asked, what each model said, and how many were right."""
    table = Table(title=f"{SHOWN_ANSWERS} of {len(answers)} held-out mails", show_lines=True)
    for heading in ("mail", "base model", "tuned model"):
        table.add_column(heading, overflow="fold", ratio=1)
    for one in answers[:SHOWN_ANSWERS]:
        marks = ["green" if right(said, one.expected) else "red" for said in (one.base, one.tuned)]
        table.add_row(one.mail, f"[{marks[0]}]{clipped(one.base)}[/]", f"[{marks[1]}]{clipped(one.tuned)}[/]")
    console.print(table)
    console.print(
        f"exact match on {len(answers)} held-out mails: base {base:.0%}, tuned [bold]{tuned:.0%}[/]"
    )


def clipped(said: str, longest: int = 160) -> str:
    """An answer as a table cell."""
    text = said.replace("[", r"\[")
    return text if len(text) <= longest else text[:longest] + "…"


async def show_events(data_dir: Path, job: TuningJob) -> None:
    """Read the events topic with a plain consumer; print what is of this job. Raises `DemoFailed`."""
    bootstrap = json.loads((data_dir / "addresses.json").read_bytes())["kafka"]
    table = Table(title=f"{EVENTS_TOPIC}, partition 0", box=None)
    for heading in ("offset", "ce_time", "ce_type", "v", "ce_chain"):
        table.add_column(heading, no_wrap=True)
    types: list[str] = []
    for record in await everything(bootstrap):
        if record.key == job.id.encode():
            headers = {name: value.decode() for name, value in record.headers}
            types.append(headers["ce_type"].split(".")[2])
            table.add_row(
                str(record.offset),
                headers["ce_time"].partition("T")[2],
                headers["ce_type"],
                headers["ce_sequence"],
                f"{headers['ce_chain'][:8]}…",
            )
    console.print(table)
    verdict = await verify(bootstrap)
    console.print(f"  {verdict.events} events on the log; every version and chain was checked")
    if verdict.wrong:
        raise DemoFailed("; ".join(verdict.wrong.values()))
    if types[:1] != ["created"] or types[-1:] != ["succeeded"]:
        raise DemoFailed(f"the log holds {types} of the tuning, not its whole life")


async def everything(bootstrap: str) -> list[Any]:
    """Every committed record of the events topic, which has one partition in the embedded profile."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    found: list[Any] = []
    try:
        events = TopicPartition(EVENTS_TOPIC, 0)
        consumer.assign([events])
        end = (await consumer.end_offsets([events]))[events]
        while await consumer.position(events) < end:
            found += (await consumer.getmany(events, timeout_ms=500)).get(events, [])
    finally:
        await consumer.stop()
    return found


if __name__ == "__main__":
    sys.exit(main())
