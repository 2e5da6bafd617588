"""A loss curve by range of steps, and thinned so that its shape stays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx
from msgspec.structs import replace

from app.log.metrics import Step, metric_record
from tests.integration.api.service import Running, until, uploaded
from tests.integration.api.test_tunings import created

STEPS = 1000
SPIKE, DIP = 333, 777
STEP = Step(1, 1, 0.5, 1.25, 1e-4, 0.5, 100, 50.0, 2.0, STEPS, 1, 0, eval_loss=1.5)


def loss(step: int) -> float:
    return {SPIKE: 50.0, DIP: 0.001}.get(step, 3 - step / STEPS + (step % 7) / 100)


async def test_a_curve_comes_by_range_or_thinned_with_its_shape(
    service: Running, client: httpx.AsyncClient
) -> None:
    id = (await created(client, await uploaded(client)))["id"]
    writer = await service.log.writer()
    for step in range(1, STEPS + 1):
        await writer.send(metric_record(id, replace(STEP, step=step, loss=loss(step)), worker="w"))

    async def curve(**query: int) -> dict[str, Any]:
        answer = await client.get(f"/v1/tunings.metrics/{id}", params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def all_there() -> bool:
        return [one["step"] for one in (await curve())["data"]] == list(range(1, STEPS + 1))

    await until(all_there)
    whole = {one["step"]: one for one in (await curve())["data"]}
    part = await curve(after_step=10, until_step=20)
    assert ([one["step"] for one in part["data"]], part["has_more"]) == (list(range(11, 21)), False)
    first = await curve(after_step=10, until_step=20, limit=4)
    assert ([one["step"] for one in first["data"]], first["has_more"]) == ([11, 12, 13, 14], True)
    for points in (4, 5, 60, 61, 999):
        thinned = (await curve(points=points))["data"]
        steps = [one["step"] for one in thinned]
        assert points * 0.7 <= len(steps) <= points
        assert (steps[0], steps[-1], steps) == (1, STEPS, sorted(set(steps)))
        assert {SPIKE, DIP} <= set(steps)  # a mean would have lost both
        assert [whole[step] for step in steps] == thinned
    ranged = await curve(points=20, after_step=100, until_step=300)
    steps = [one["step"] for one in ranged["data"]]
    assert (steps[0], steps[-1], ranged["has_more"]) == (101, 300, False)
    assert max(b - a for a, b in pairwise(steps)) < 60, "every stretch is told of"
    assert [one["step"] for one in (await curve(points=50, until_step=20))["data"]] == list(range(1, 21))
    assert (await curve(points=4, after_step=STEPS))["data"] == []
    for query, param in (
        ({"points": 3}, "points"),
        ({"until_step": -1}, "until_step"),
        ({"after_step": 5, "until_step": 4}, "until_step"),
    ):
        answer = await client.get(f"/v1/tunings.metrics/{id}", params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
