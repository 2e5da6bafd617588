"""One attempt in two processes: it learns what one alone would, is left like one, and never hangs."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from safetensors.torch import load_file

from app.trainer_worker.child import Child, ChildDied
from app.trainer_worker.training import frames
from app.trainer_worker.training.plan import Plan, Train, Verify
from tests.faults.rounds import rounds
from tests.integration.training.forks import Forks, ended
from tests.integration.training.runs import (
    WITHIN,
    curve,
    hyperparameters,
    left_after,
    resuming,
    same,
    told,
)
from tests.integration.training.test_resume import of_kind

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

# The second of two steps has two rows for three places, and the validation rows one for two.
KILLS = 20
UNEVEN: dict[str, Any] = {"epochs": 2, "batch_size": 4, "gradient_accumulation": 2, "eval_every": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Child]:
    child = await forks.child(tmp_path_factory.mktemp("pair") / "child.log", processes=2)
    yield child
    await ended(child)


def with_rows(plan: Plan, training: int, validation: int) -> Plan:
    for path, count in ((plan.training_file, training), (plan.validation_file or "", validation)):
        lines = Path(path).read_text().splitlines(keepends=True)
        Path(path).write_text("".join(lines[:count]))
    return plan


def furthest(plan: Plan, other: Plan) -> float:
    """The largest difference of two adapters."""
    one, two = (
        load_file(Path(of.output_dir) / "adapter" / "adapter_model.safetensors") for of in (plan, other)
    )
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def pids(child: Child) -> list[int]:
    """The processes of a child, in the order of their ranks."""
    return [int(pid) for pid in re.findall(r"^fork (\d+)$", child.output.read_text(), re.MULTILINE)]


async def until(child: Child, plan: Plan, kind: type[frames.Frame]) -> None:
    """Let a child carry out a plan, as far as the first such frame."""
    await child.send(Train(plan))
    async with asyncio.timeout(WITHIN):
        while not isinstance(frame := await child.next_frame(), kind):
            assert not isinstance(frame, frames.Failed), frame


def child_of(pid: int) -> int:
    """The only process that this one started."""
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def gone(pid: int) -> None:
    async with asyncio.timeout(WITHIN):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.02)


async def test_two_processes_learn_what_one_does(
    child: Child, pair: Child, plan: Plan, tmp_path: Path
) -> None:
    plan = with_rows(plan, 6, 3)
    alone = replace(plan, hyperparameters=hyperparameters(rows=6, **UNEVEN))
    both = replace(alone, processes=2, output_dir=str(tmp_path / "both"))
    assert (both.rows_at_a_time, both.gradient_accumulation) == (2, 1)
    heard = [await told(child, Train(alone)), await told(pair, Train(both))]
    ends = [one[-1] for one in heard]
    assert isinstance(ends[0], frames.Saved), ends[0]
    assert isinstance(ends[1], frames.Saved), ends[1]
    assert (ends[0].steps, ends[0].trained_tokens) == (ends[1].steps, ends[1].trained_tokens)
    kinds = [[type(one) for one in told_ if not isinstance(one, frames.Phase)] for told_ in heard]
    assert kinds[0] == kinds[1]
    for one, other in zip(curve(alone), curve(both), strict=True):
        if one["type"] == "step":  # parts of epochs are counted in batches, of which each process has as many
            one["epoch"] = other["epoch"]
        assert one == pytest.approx(other, abs=1e-4)
        assert one.get("tokens") == other.get("tokens")
    assert furthest(alone, both) < 1e-5
    proof = (await told(pair, Verify(str(Path(both.output_dir) / "adapter"))))[-1]
    assert isinstance(proof, frames.Verified), proof


async def test_two_processes_are_left_at_one_point_and_go_on_to_the_last_bit(
    pair: Child, plan: Plan, tmp_path: Path
) -> None:
    plan = with_rows(plan, 6, 3)
    hyper = hyperparameters(rows=6, **UNEVEN | {"batch_size": 2, "dropout": 0.1})
    whole = replace(plan, hyperparameters=hyper, processes=2)
    assert isinstance((await told(pair, Train(whole)))[-1], frames.Saved)
    now = replace(whole, output_dir=str(tmp_path / "left"))
    kinds = (frames.Step, frames.Phase, frames.Evaluation)
    for number in range(rounds(3, 30)):
        end = await left_after(pair, now, kinds[number % 3], 1 + number % 2)
        if isinstance(end, frames.Saved):
            break
        now = resuming(now)
    else:
        assert isinstance((await told(pair, Train(now)))[-1], frames.Saved)
    assert number > 0
    same(now, whole)


async def until_ended(child: Child) -> list[frames.Frame]:
    """What a child tells until it ends without having been asked to."""
    heard: list[frames.Frame] = []
    with suppress(ChildDied):
        async with asyncio.timeout(WITHIN):
            while True:
                heard.append(await child.next_frame())
    return heard


async def test_a_process_that_is_killed_ends_the_attempt_with_the_reason_and_leaves_none(
    forks: Forks, plan: Plan, tmp_path: Path
) -> None:
    child = await forks.child(tmp_path / "child.log", processes=2)
    both = pids(child)
    await until(child, replace(plan, hyperparameters=hyperparameters(epochs=100), processes=2), frames.Step)
    os.kill(both[1], signal.SIGKILL)
    assert not any(isinstance(frame, frames.Failed) for frame in await until_ended(child))
    for one in both:
        await gone(one)
    assert re.search(r"rank 1, process \d+, ended with signal SIGKILL", child.output.read_text())
    await ended(child)


@pytest.mark.skipif(not rounds(0, 1), reason="one kill is enough otherwise")
async def test_processes_killed_at_random_go_on_to_the_last_bit(
    forks: Forks, plan: Plan, tmp_path: Path
) -> None:
    random.seed("processes")
    hyper = hyperparameters(**UNEVEN | {"batch_size": 2, "dropout": 0.1})
    whole = replace(plan, hyperparameters=hyper, processes=2, checkpoint_steps=1)
    child = await forks.child(tmp_path / "whole.log", processes=2)
    began = time.monotonic()
    await told(child, Train(whole))
    takes = time.monotonic() - began
    await ended(child)
    kills = 0
    for run in range(100):
        now = replace(whole, output_dir=str(tmp_path / str(run)))
        for life in range(100):
            child = await forks.child(tmp_path / f"{run}.{life}.log", processes=2)
            both = pids(child)
            await child.send(Train(now))
            await asyncio.sleep(random.uniform(0, takes))
            for one in random.sample(both, random.choice((1, 1, 2))):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            heard = await until_ended(child)
            assert not any(isinstance(frame, frames.Failed) for frame in heard), heard
            await ended(child)
            for one in both:
                await gone(one)
            now = resuming(now)
            if any(isinstance(frame, frames.Saved) for frame in heard):
                break
            kills += 1
        same(now, whole)
        if kills >= KILLS:
            return


async def test_a_process_that_fails_fails_the_attempt_with_what_it_says(
    forks: Forks, plan: Plan, tmp_path: Path
) -> None:
    child = await forks.child(tmp_path / "child.log", processes=2)
    both = pids(child)
    Path(plan.training_file).write_text("not json\n")
    fault = (await told(child, Train(replace(plan, processes=2))))[-1]
    assert isinstance(fault, frames.Failed)
    assert (fault.code, fault.param) == ("bad_rows", "training_file")
    assert await until_ended(child) == []  # nobody says it twice
    for one in both:
        await gone(one)
    await ended(child)


@pytest.mark.skipif(not rounds(0, 1), reason="processes of their own import for long")
@pytest.mark.parametrize(("rank", "sent"), [(1, signal.SIGSTOP), (1, signal.SIGKILL), (0, signal.SIGKILL)])
async def test_processes_of_their_own_end_together_also_when_one_hangs(
    plan: Plan, tmp_path: Path, rank: int, sent: signal.Signals
) -> None:
    child = await Child.start(tmp_path / "child.log", processes=2)
    try:
        async with asyncio.timeout(WITHIN):
            assert (await child.until_ready()).processes == 2
        first = child_of(child.pid)
        both = [first, child_of(first)]
        assert [os.getpgid(pid) for pid in both] == [child.pid] * 2
        hyper = hyperparameters(epochs=100)
        await until(child, replace(plan, hyperparameters=hyper, processes=2, stall_seconds=3), frames.Step)
        os.kill(both[rank], sent)
        assert not any(isinstance(frame, frames.Failed) for frame in await until_ended(child))
        for pid in both:
            await gone(pid)
        if rank == 1:
            reason = "rank 1 is T (stopped)" if sent == signal.SIGSTOP else "ended with signal SIGKILL"
            assert reason in child.output.read_text()
    finally:
        await child.stop()


@pytest.mark.skipif(not rounds(0, 1), reason="one kind is enough otherwise")
@pytest.mark.parametrize("kind", ["nf4", "packed", "dpo", "stopped early"])
async def test_every_kind_of_run_is_shared_exactly(
    child: Child, pair: Child, plan: Plan, tmp_path: Path, kind: str
) -> None:
    of_one = of_kind(with_rows(plan, 7, 3), kind)
    still = replace(of_one.hyperparameters, dropout=0.0)
    alone = replace(of_one, hyperparameters=still, checkpoint_steps=None)
    both = replace(alone, processes=2, output_dir=str(tmp_path / "both"))
    for of, where in ((alone, child), (both, pair)):
        assert isinstance((end := (await told(where, Train(of)))[-1]), frames.Saved), end
    for one, other in zip(curve(alone), curve(both), strict=True):
        assert (one["type"], one["step"]) == (other["type"], other["step"])
        for name in one.keys() & {"loss", "eval_loss", "train_loss", "tokens"}:
            assert one[name] == pytest.approx(other[name], abs=1e-4)
    whole = replace(of_one, processes=2, output_dir=str(tmp_path / "whole"))
    now = replace(whole, output_dir=str(tmp_path / "left"))
    await told(pair, Train(whole))
    for number in range(50):
        end = await left_after(pair, now, (frames.Step, frames.Phase)[number % 2], 1 + number % 3)
        now = resuming(now)
        if isinstance(end, frames.Saved):
            break
    same(now, whole)


@pytest.mark.skipif(not rounds(0, 1), reason="it is promised, but seldom")
async def test_another_number_of_processes_goes_on_with_the_same_rows(
    child: Child, pair: Child, plan: Plan, tmp_path: Path
) -> None:
    plan = with_rows(plan, 6, 3)
    alone = replace(plan, hyperparameters=hyperparameters(rows=6, **UNEVEN))
    await told(child, Train(alone))
    for first, then, count in ((child, pair, 2), (pair, child, 1)):
        now = replace(alone, processes=3 - count, output_dir=str(tmp_path / f"to-{count}"))
        assert isinstance(await left_after(first, now, frames.Step, 1), frames.Rested)
        now = replace(resuming(now), processes=count)
        assert isinstance((end := (await told(then, Train(now)))[-1]), frames.Saved), end
        for one, other in zip(curve(alone), curve(now), strict=True):
            assert one.get("loss") == pytest.approx(other.get("loss"), abs=1e-4)
            assert one.get("tokens") == other.get("tokens")
        assert furthest(alone, now) < 1e-5
