"""The child on its own, with a tiny model: LoRA and QLoRA, repeatable, proved, and clear about bad input.

One warm child carries out one plan after the other, as nothing but time is shared between them.
"""

from __future__ import annotations

import errno
import json
import math
import os
import random
import resource
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from app.datasets import measure
from app.domain.tunings import Reduction, WarmStart
from app.trainer_worker.child import Child
from app.trainer_worker.training import frames
from app.trainer_worker.training.plan import Merge, Plan, Train, Verify
from tests.integration.training.forks import Forks, ended, pid_of
from tests.integration.training.runs import (
    WITHIN,
    apart,
    examples,
    failed,
    hyperparameters,
    killed,
    left_after,
    manifest,
    resuming,
    same,
    saved,
    told,
    weights,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

LAST_LAYER = ["layers.1.self_attn.q_proj", "layers.1.self_attn.v_proj"]


@asynccontextmanager
async def limited(child: Child, plan: Plan, room: int) -> AsyncIterator[None]:
    """The child with so many bytes of memory to be had, besides what it has at rest."""
    await failed(child, replace(plan, labels_hash="0" * 64))  # and so holds nothing of an earlier run
    pid = pid_of(child)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + room, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)


def previewed(plan: Plan) -> measure.Measure:
    """What the api measures of the plan's files."""
    asked = measure.Request(
        model_dir=plan.model_dir,
        training_file=plan.training_file,
        validation_file=plan.validation_file,
        max_length=plan.hyperparameters.max_length,
        seconds=WITHIN,
    )
    return measure.measure(asked)


async def test_a_lora_run_tells_every_step_and_epoch_and_its_adapter_is_proved(
    child: Child, plan: Plan
) -> None:
    seen = previewed(plan)
    plan = replace(
        plan, hyperparameters=hyperparameters(epochs=2), labels_hash=seen.labels_hash, examples=None
    )
    heard = await told(child, Train(plan))
    assert heard[0] == frames.Phase("loading")
    [planned] = [frame for frame in heard if isinstance(frame, frames.Planned)]
    assert planned.labels_hash == seen.labels_hash
    totals = seen.training
    assert (planned.train_rows, planned.tokens_per_epoch) == (totals.rows, totals.tokens)
    assert (planned.trainable_tokens, planned.cut_tokens) == (totals.trainable, totals.cut)
    assert (planned.total_steps, planned.train_rows, planned.validation_rows) == (4, 8, 4)
    steps = [frame for frame in heard if isinstance(frame, frames.Step)]
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert steps[-1].tokens == 2 * planned.tokens_per_epoch
    assert all(step.tokens_per_second > 0 for step in steps)
    epochs = [frame for frame in heard if isinstance(frame, frames.Epoch)]
    assert [(epoch.epoch, epoch.step) for epoch in epochs] == [(1, 2), (2, 4)]
    assert epochs[1].train_loss < epochs[0].train_loss
    assert all(epoch.eval_loss is not None for epoch in epochs)
    kept = (Path(plan.output_dir) / "results" / "metrics.jsonl").read_text()
    curve = [json.loads(line) for line in kept.splitlines()]
    assert [one["step"] for one in curve if one["type"] == "step"] == [1, 2, 3, 4]
    assert heard[-1].trained_tokens == 2 * planned.trainable_tokens  # type: ignore[union-attr]

    proof = (await told(child, Verify(str(Path(plan.output_dir) / "adapter"))))[-1]
    assert isinstance(proof, frames.Verified)
    assert proof.max_logit_difference < 1e-4
    config = json.loads((Path(plan.output_dir) / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == plan.model_id
    assert plan.model_dir not in json.dumps(config)

    rows, left = examples(plan), manifest(plan)
    assert sorted(row["line"] for row in rows) == list(range(1, 9))
    assert rows == sorted(rows, key=lambda row: -row["loss_after"])
    assert all(row["loss_after"] < row["loss_before"] for row in rows)
    tokens = sum(row["trained_tokens"] for row in rows)
    assert (tokens, left["examples"]) == (planned.trainable_tokens, {"looked_at": 8, "rows": 8})
    began = sum(row["loss_before"] * row["trained_tokens"] for row in rows) / tokens
    assert began == pytest.approx((steps[0].loss + steps[1].loss) / 2, rel=0.05)
    assert left["memory"]["estimated"]["total"] == (plan.memory.total if plan.memory else 0)
    assert left["memory"]["peak"] > left["memory"]["estimated"]["weights"]
    card = (Path(plan.output_dir) / "adapter" / "README.md").read_text()
    assert f"| 4 | {steps[3].loss:.4f} | {epochs[1].eval_loss:.4f} |" in card
    assert all(told in card for told in (planned.labels_hash, "| torch | ", "| learning_rate | 0.01 |"))


async def test_the_same_seed_makes_the_same_adapter_and_another_seed_another(
    child: Child, plan: Plan, tmp_path: Path
) -> None:
    again = replace(plan, output_dir=str(tmp_path / "again"))
    other = replace(plan, output_dir=str(tmp_path / "other"), seed=8)
    for one in (plan, again, other):
        await saved(child, one)
    assert weights(plan) == weights(again)
    assert weights(plan) != weights(other)


async def test_a_qlora_run_trains_on_four_bits_and_its_adapter_is_proved(child: Child, plan: Plan) -> None:
    full = await saved(child, plan)
    quantised = replace(
        plan, hyperparameters=hyperparameters(use_quantization=True), output_dir=plan.output_dir + "-4bit"
    )
    [*_, phase, lossy] = await told(child, Train(replace(quantised, examples=3)))
    assert phase == frames.Phase("saving")
    assert isinstance(lossy, frames.Saved)
    assert manifest(quantised)["examples"] == {"looked_at": 3, "rows": 8}
    assert lossy.train_loss != full.train_loss  # the base is another, by its rounding
    assert lossy.train_loss == pytest.approx(full.train_loss, rel=0.5)
    adapter = str(Path(quantised.output_dir) / "adapter")
    proof = (await told(child, Verify(adapter)))[-1]
    assert isinstance(proof, frames.Verified), proof
    merged = (await told(child, Merge(adapter)))[-1]
    assert isinstance(merged, frames.Merged), merged
    written = {path.name for path in Path(merged.merged_dir).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= written
    with safe_open(Path(merged.merged_dir) / "model.safetensors", framework="np") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in list(tensors.keys())} == {"BF16"}
    broken = Path(quantised.output_dir) / "adapter" / "adapter_model.safetensors"
    broken.write_bytes(broken.read_bytes()[:100])
    fault = (await told(child, Merge(adapter)))[-1]
    assert isinstance(fault, frames.Failed)
    assert fault.code == "merged_unusable"


async def test_a_batch_in_parts_is_the_same_batch(child: Child, plan: Plan, tmp_path: Path) -> None:
    hyper = replace(plan.hyperparameters, gradient_accumulation=2)
    halves = replace(plan, hyperparameters=hyper, output_dir=str(tmp_path / "halves"))
    whole, parts = await saved(child, plan), await saved(child, halves)
    assert (parts.steps, parts.trained_tokens) == (whole.steps, whole.trained_tokens)
    assert parts.train_loss == pytest.approx(whole.train_loss, rel=1e-4)


@pytest.mark.parametrize(
    "given", [{"eval_every": 1, "batch_size": 2}, {"batch_size": 8, "use_quantization": True}]
)
async def test_early_stopping_ends_the_run_and_keeps_the_best_adapter(
    child: Child, plan: Plan, tmp_path: Path, given: dict[str, Any]
) -> None:
    # A rate at which the first steps help and later ones do harm; the same at each step, however many follow.
    constant: dict[str, Any] = {
        "scheduler": "constant",
        "warmup_ratio": 0,
        "dropout": 0.1,
        "learning_rate": 0.3,
    } | given
    hyper = hyperparameters(**constant, epochs=20, early_stopping_patience=2)
    heard = await told(child, Train(replace(plan, hyperparameters=hyper)))
    losses = {one.step: one.eval_loss for one in heard if isinstance(one, frames.Evaluation | frames.Epoch)}
    last, saved_ = max(losses), heard[-1]
    assert isinstance(saved_, frames.Saved)
    best = min(losses, key=lambda step: losses[step] or 0)
    assert (last, saved_.steps, saved_.kept_step) == (best + 2, last, best)
    assert saved_.eval_loss == losses[best]
    assert [type(one).__name__ for one in heard if isinstance(one, frames.Step | frames.Epoch)][-1] == "Epoch"

    shorter = hyperparameters(**constant, epochs="auto", max_steps=best)
    so_long = replace(plan, hyperparameters=shorter, output_dir=str(tmp_path / "so_long"))
    assert (await saved(child, so_long)).eval_loss == losses[best]
    assert weights(so_long) == weights(plan)


async def test_a_warm_start_goes_on_where_the_earlier_adapter_ended(
    child: Child, plan: Plan, tmp_path: Path
) -> None:
    shape: dict[str, Any] = {"use_rslora": True, "use_dora": True, "target_modules": LAST_LAYER}
    first = replace(plan, hyperparameters=hyperparameters(**shape))
    left = (await saved(child, first)).eval_loss
    start = WarmStart("ft:tiny::job-0", "job-0", ())
    warm = replace(first, warm_start=start, warm_start_dir=str(Path(first.output_dir) / "adapter"), seed=8)

    still = hyperparameters(**shape, learning_rate=1e-30)  # so little that it is nothing
    unmoved = replace(warm, hyperparameters=still, output_dir=str(tmp_path / "unmoved"))
    assert (await saved(child, unmoved)).eval_loss == left
    assert weights(unmoved) == weights(first)
    unmoved = replace(unmoved, hyperparameters=replace(still, use_quantization=True))
    await saved(child, unmoved)
    assert weights(unmoved) == weights(first)

    moved = replace(
        warm, hyperparameters=hyperparameters(**shape, dropout=0.1), output_dir=str(tmp_path / "1")
    )
    assert (await saved(child, moved)).eval_loss != left
    again = replace(moved, output_dir=str(tmp_path / "2"))
    await saved(child, again)
    assert weights(moved) == weights(again) != weights(first)
    proof = (await told(child, Verify(str(Path(again.output_dir) / "adapter"))))[-1]
    assert isinstance(proof, frames.Verified), proof
    config = json.loads((Path(again.output_dir) / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["lora_dropout"]) == (plan.model_id, 0.1)
    manifest = json.loads((Path(again.output_dir) / "results" / "manifest.json").read_text())
    assert manifest["warm_start"]["model"] == start.model

    broken = replace(warm, warm_start_dir=str(tmp_path))
    assert ((fault := await failed(child, broken)).code, fault.param) == ("file_unusable", "model")


@pytest.mark.parametrize("given", [{}, {"use_quantization": True, "use_dora": True, "use_rslora": True}])
async def test_dpo_begins_at_ln_2_and_learns_to_prefer(
    child: Child, plan: Plan, tmp_path: Path, given: dict[str, Any]
) -> None:
    for path in (plan.training_file, plan.validation_file or ""):
        rows = [json.loads(line)["messages"] for line in Path(path).read_text().splitlines()]
        pairs = [
            {"prompt": row[:-1], "chosen": row[-1:], "rejected": [{"role": "assistant", "content": "No."}]}
            for row in rows
        ]
        Path(path).write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    asked: dict[str, Any] = {"method": "dpo", "epochs": 2, "warmup_ratio": 0, "learning_rate": 0.05} | given
    hyper = hyperparameters(**asked)
    seen = previewed(plan)
    first = replace(plan, method="dpo", hyperparameters=hyper, labels_hash=seen.labels_hash)
    heard = await told(child, Train(first))
    assert isinstance(heard[-1], frames.Saved), heard[-1]
    [planned] = [one for one in heard if isinstance(one, frames.Planned)]
    assert (planned.train_rows, planned.total_steps) == (8, 4)
    assert (planned.tokens_per_epoch, planned.trainable_tokens) == (
        seen.training.tokens,
        seen.training.trainable,
    )
    assert heard[-1].trained_tokens == 2 * planned.trainable_tokens
    steps = [one for one in heard if isinstance(one, frames.Step)]
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-6)
    assert steps[-1].loss < 0.6
    evaluated = [one.eval_loss or 1.0 for one in heard if isinstance(one, frames.Epoch)]
    assert evaluated[1] < evaluated[0] < math.log(2)
    proof = (await told(child, Verify(str(Path(plan.output_dir) / "adapter"))))[-1]
    assert isinstance(proof, frames.Verified), proof

    again = replace(first, output_dir=str(tmp_path / "again"))
    await saved(child, again)
    assert weights(again) == weights(first)
    halves = replace(hyper, gradient_accumulation=2)
    parts = replace(first, hyperparameters=halves, output_dir=str(tmp_path / "parts"))
    in_parts = [one for one in await told(child, Train(parts)) if isinstance(one, frames.Step)]
    for part, step in zip(in_parts, steps, strict=True):
        assert (part.loss, part.grad_norm) == pytest.approx((step.loss, step.grad_norm), rel=1e-3)
    # What the model is held to is what it was when the run began: here the adapter that it goes on from.
    further = replace(
        first,
        examples=1,
        hyperparameters=replace(hyper, learning_rate=1e-3),
        warm_start=WarmStart("ft:tiny::job-0", "job-0", ()),
        warm_start_dir=str(Path(first.output_dir) / "adapter"),
        output_dir=str(tmp_path / "further"),
    )
    losses = [one.loss for one in await told(child, Train(further)) if isinstance(one, frames.Step)]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[-1] < losses[0]
    [pair] = examples(further)
    assert pair["loss_before"] == pytest.approx(math.log(2), abs=1e-6)
    assert pair["loss_after"] < pair["loss_before"]


async def test_packed_rows_are_the_rows_alone(child: Child, plan: Plan, tmp_path: Path) -> None:
    # Random weights hardly mind what else they see; what was learned by some steps does.
    many: dict[str, Any] = {"epochs": 3, "learning_rate": 0.1, "warmup_ratio": 0, "max_length": 256}
    many |= {"use_quantization": True, "use_dora": True}
    alone = replace(plan, hyperparameters=hyperparameters(**many, batch_size=8))
    packed = replace(
        plan,
        hyperparameters=hyperparameters(**many, batch_size=3, packing=True),
        output_dir=str(tmp_path / "packed"),
    )
    ran, also = await told(child, Train(alone)), await told(child, Train(packed))
    assert isinstance(ran[-1], frames.Saved)
    assert isinstance(also[-1], frames.Saved), also[-1]
    [planned] = [one for one in also if isinstance(one, frames.Planned)]
    assert (planned.train_rows, planned.sequences, planned.total_steps) == (8, 3, 3)
    again = replace(packed, output_dir=str(tmp_path / "again"))
    await saved(child, again)
    assert weights(again) == weights(packed)
    assert (also[-1].steps, also[-1].trained_tokens) == (3, ran[-1].trained_tokens)
    steps = [[one for one in heard if isinstance(one, frames.Step)] for heard in (ran, also)]
    assert steps[0][-1].loss < steps[0][0].loss - 0.3
    for one, other in zip(*steps, strict=True):
        assert (other.step, other.tokens) == (one.step, one.tokens)
        assert other.loss == pytest.approx(one.loss, rel=1e-4)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-3)
    assert also[-1].eval_loss == pytest.approx(ran[-1].eval_loss, rel=1e-4)


def _row(times: int) -> str:
    asked = {"role": "user", "content": "one two " * times}
    return json.dumps({"messages": [asked, {"role": "assistant", "content": "3"}]}) + "\n"


async def test_a_run_out_of_memory_goes_on_with_fewer_rows_at_a_time_and_learns_the_same(
    child: Child, plan: Plan, tmp_path: Path
) -> None:
    # 8 rows of 120 tokens, times the vocabulary, are 200 MiB: with all else they do not fit, and half do.
    Path(plan.training_file).write_text("".join(_row(50 - number) for number in range(8)))
    asked: dict[str, Any] = {"batch_size": 8, "epochs": 2, "train_on": "all", "learning_rate": 1e-3}
    plan = replace(plan, hyperparameters=hyperparameters(**asked))
    ran = await told(child, Train(plan))
    few = replace(plan, output_dir=str(tmp_path / "few"))
    async with limited(child, plan, 185 * 1024**2):
        heard = await told(child, Train(few))
    assert isinstance(heard[-1], frames.Saved), [one for one in heard if not isinstance(one, frames.Step)]
    assert next(one for one in heard if isinstance(one, frames.Reduced)) == frames.Reduced(0, 4, 2, False)
    kept = replace(few, reduction=Reduction(1, 1, 8, True), output_dir=str(tmp_path / "kept"))
    also = await told(child, Train(kept))
    for other, one in ((few, heard), (kept, also)):
        assert apart(plan, other) < 1e-5
        steps = zip(
            *([one for one in some if isinstance(one, frames.Step)] for some in (ran, one)), strict=True
        )
        for ours, theirs in steps:
            assert (theirs.step, theirs.tokens) == (ours.step, ours.tokens)
            assert (theirs.loss, theirs.grad_norm) == pytest.approx((ours.loss, ours.grad_norm), rel=1e-4)
        assert one[-1].eval_loss == pytest.approx(ran[-1].eval_loss, rel=1e-5)  # type: ignore[union-attr]
    assert manifest(kept)["reduction"]["gradient_checkpointing"]

    Path(plan.training_file).write_text(_row(500) * 2)
    hyper = hyperparameters(rows=2, batch_size=2, train_on="all")
    for room, forms, param in (
        (90, [(1, False), (1, True)], "hyperparameters.max_length"),
        (5, [], "hyperparameters.use_quantization"),
    ):
        async with limited(child, plan, room * 1024**2):
            [*heard, fault] = await told(child, Train(replace(plan, hyperparameters=hyper)))
        assert isinstance(fault, frames.Failed)
        assert (fault.code, fault.blame, fault.param) == ("out_of_memory", "user", param)
        reduced = [one for one in heard if isinstance(one, frames.Reduced)]
        assert [(one.rows_at_a_time, one.gradient_checkpointing) for one in reduced] == forms


async def test_a_loss_that_runs_away_ends_the_run(child: Child, plan: Plan) -> None:
    yes, no = ({"role": "assistant", "content": word} for word in ("Yes.", "No."))
    pairs = [
        {"prompt": [{"role": "user", "content": "Well?"}], "chosen": [better], "rejected": [worse]}
        for better, worse in ((yes, no), (no, yes))  # whatever is learned of one is wrong for the other
    ]
    Path(plan.training_file).write_text("".join(json.dumps(pair) + "\n" for pair in pairs * 4))
    hyper = hyperparameters(
        method="dpo", beta=100, learning_rate=1, warmup_ratio=0, batch_size=8, epochs=20, scheduler="constant"
    )
    fault = await failed(child, replace(plan, method="dpo", hyperparameters=hyper, validation_file=None))
    assert (fault.code, fault.blame, fault.param) == (
        "loss_ran_away",
        "user",
        "hyperparameters.learning_rate",
    )


async def test_an_adapter_with_other_weights_is_found_out(child: Child, plan: Plan, tmp_path: Path) -> None:
    await saved(child, plan)
    stored = Path(plan.output_dir) / "adapter" / "adapter_model.safetensors"
    content = bytearray(stored.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    stored.write_bytes(content)
    heard = (await told(child, Verify(str(stored.parent))))[-1]
    assert isinstance(heard, frames.Failed)
    assert (heard.code, heard.blame) == ("adapter_unusable", "platform")


async def test_an_adapter_that_stock_peft_cannot_load_is_found_out(child: Child, plan: Plan) -> None:
    await saved(child, plan)
    stored = Path(plan.output_dir) / "adapter" / "adapter_model.safetensors"
    stored.write_bytes(stored.read_bytes()[:1000])
    heard = (await told(child, Verify(str(stored.parent))))[-1]
    assert isinstance(heard, frames.Failed)
    assert heard.code == "adapter_unusable"


async def test_every_bad_row_is_named_before_the_first_step(child: Child, plan: Plan) -> None:
    with Path(plan.training_file).open("a") as rows:
        rows.write('{"messages": []}\nnot json\n')
    fault = await failed(child, plan)
    assert (fault.code, fault.blame, fault.param) == ("bad_rows", "user", "training_file")
    assert "line 9" in fault.message
    assert "line 10" in fault.message


async def test_rows_with_nothing_left_to_train_on_are_named(child: Child, plan: Plan) -> None:
    fault = await failed(child, replace(plan, hyperparameters=hyperparameters(max_length=16)))
    assert (fault.code, fault.blame) == ("no_trainable_tokens", "user")
    assert "max_length 16" in fault.message


async def test_a_base_that_computes_no_number_ends_at_the_first_step(
    child: Child, plan: Plan, tmp_path: Path
) -> None:
    broken = tmp_path / "model"
    shutil.copytree(plan.model_dir, broken)
    weights = bytearray((broken / "model.safetensors").read_bytes())
    weights[-4:] = b"\x00\x00\xc0\x7f"  # not a number
    (broken / "model.safetensors").write_bytes(weights)
    fault = await failed(child, replace(plan, model_dir=str(broken)))
    assert (fault.code, fault.blame, fault.param) == ("model_not_finite", "platform", "model")
    assert not (Path(plan.output_dir) / "adapter").exists()


async def test_a_model_that_cannot_be_read_is_the_platforms_fault(
    child: Child, plan: Plan, tmp_path: Path
) -> None:
    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def without_one(path: Path) -> None:
        tensors = load_file(path)
        del tensors["model.layers.1.mlp.up_proj.weight"]
        save_file(tensors, path, {"format": "pt"})

    def wider(path: Path) -> None:
        path.write_text(path.read_text().replace('"intermediate_size": 128', '"intermediate_size": 256'))

    harms: list[tuple[str, Callable[[Path], None]]] = [
        ("config.json", Path.unlink),
        ("config.json", cut),
        ("config.json", wider),
        ("tokenizer.json", cut),
        ("model.safetensors", cut),
        ("model.safetensors", without_one),
    ]
    for number, (name, harm) in enumerate(harms):
        broken = tmp_path / str(number)
        shutil.copytree(plan.model_dir, broken)
        harm(broken / name)
        fault = await failed(child, replace(plan, model_dir=str(broken)))
        assert (fault.code, fault.blame) == ("model_unreadable", "platform"), (name, harm, fault)


async def test_what_was_previewed_is_what_is_trained_or_nothing_is(child: Child, plan: Plan) -> None:
    seen = previewed(plan)
    Path(plan.validation_file or "").write_text(Path(plan.training_file).read_text())
    fault = await failed(child, replace(plan, labels_hash=seen.labels_hash))
    assert fault.code == "labels_changed"


async def test_hyperparameters_do_what_they_say(child: Child, plan: Plan) -> None:
    for path, count in ((plan.training_file, 4), (plan.validation_file or "", 1)):
        lines = Path(path).read_text().splitlines(keepends=True)
        Path(path).write_text("".join(lines[:count]))
    hyper = hyperparameters(
        rows=4,
        epochs="auto",
        batch_size=2,
        max_steps=3,
        eval_every=1,
        target_modules=LAST_LAYER,  # what few layers learn is learned soon
        use_rslora=True,
        use_dora=True,
        dropout=0.1,
        train_on="all",
        scheduler="constant",
        warmup_ratio=0,
        weight_decay=0.1,
        gradient_accumulation=2,
    )
    heard = await told(child, Train(replace(plan, hyperparameters=hyper)))
    assert isinstance(heard[-1], frames.Saved), heard[-1]
    [planned] = [frame for frame in heard if isinstance(frame, frames.Planned)]
    assert (planned.total_steps, planned.total_epochs) == (3, 2)
    assert planned.trainable_tokens == planned.tokens_per_epoch - planned.train_rows  # all but the first
    assert heard[-1].trained_tokens > planned.trainable_tokens
    evaluations = [frame for frame in heard if isinstance(frame, frames.Evaluation | frames.Epoch)]
    assert [(type(one).__name__, one.step) for one in evaluations] == [
        ("Evaluation", 1),
        ("Epoch", 2),
        ("Epoch", 3),
    ]
    assert len({one.eval_loss for one in evaluations}) == 3
    rates = {frame.learning_rate for frame in heard if isinstance(frame, frames.Step)}
    assert rates == {hyper.learning_rate}
    config = json.loads((Path(plan.output_dir) / "adapter" / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == LAST_LAYER
    assert (config["use_rslora"], config["use_dora"], config["lora_dropout"]) == (True, True, 0.1)
    assert config["lora_alpha"] == 4.0  # twice the square root of the rank
    proof = (await told(child, Verify(str(Path(plan.output_dir) / "adapter"))))[-1]
    assert isinstance(proof, frames.Verified), proof


async def test_a_run_that_was_killed_and_left_ends_as_one_that_nobody_disturbed(
    forks: Forks, child: Child, plan: Plan, tmp_path: Path
) -> None:
    parts: dict[str, Any] = {"epochs": 2, "gradient_accumulation": 2, "dropout": 0.1, "eval_every": 3}
    whole = replace(plan, hyperparameters=hyperparameters(**parts, batch_size=2), checkpoint_steps=2)
    began = time.monotonic()
    await saved(child, whole)
    takes = time.monotonic() - began
    now = replace(whole, output_dir=str(tmp_path / "disturbed"))
    stepped = frames.Step

    async def in_time() -> bool:
        other = await forks.child(tmp_path / "killed.log")
        delay = random.uniform(0, takes / 4)
        return await killed(other, now, lambda frame: isinstance(frame, stepped), delay)

    while not await in_time():
        shutil.rmtree(now.output_dir)
    # An evaluation within the first epoch, left before its last rows were looked at.
    evaluated = replace(resuming(now), checkpoint_steps=None)
    left = await left_after(child, evaluated, frames.Phase, 3)
    assert isinstance(left, frames.Rested)
    last = (await told(child, Train(evaluated)))[-1]
    assert isinstance(last, frames.Saved), last
    same(evaluated, whole)


async def test_a_disk_that_is_full_costs_checkpoints_and_nothing_else(
    forks: Forks, plan: Plan, tmp_path: Path
) -> None:
    child = await forks.child(tmp_path / "child.log")
    # No file may grow beyond this: writing an optimizer's state fails midway, as on a disk that is full.
    resource.prlimit(pid_of(child), resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    heard = await told(child, Train(replace(plan, checkpoint_steps=1)))
    await ended(child)
    assert isinstance(heard[-1], frames.Saved), heard[-1]
    skipped = [one for one in heard if isinstance(one, frames.CheckpointSkipped)]
    assert {one.step for one in skipped} == {1, 2}
    assert {one.reason for one in skipped} == {os.strerror(errno.EFBIG)}
    assert list((Path(plan.output_dir) / "checkpoints").iterdir()) == []


async def test_the_child_goes_on_after_a_failure(child: Child, plan: Plan) -> None:
    await failed(child, replace(plan, labels_hash="0" * 64))
    assert (await saved(child, plan)).steps == 2
