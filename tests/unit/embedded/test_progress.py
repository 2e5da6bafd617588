"""Slow steps show that they move."""

from __future__ import annotations

import asyncio

import pytest

from app.embedded import progress


async def test_a_slow_step_is_told_at_once_and_again_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    told: list[str] = []
    async with progress.ticking(told.append, "fetching", lambda: "3 of 45 jars, "), asyncio.timeout(10):
        assert told == ["fetching"]
        while len(told) < 3:
            await asyncio.sleep(0.005)
    seen = len(told)
    await asyncio.sleep(0.05)
    assert told[1:] == ["fetching: 3 of 45 jars, 0 s"] * (seen - 1)
    assert len(told) == seen
