"""Every source of random numbers that training draws from: its state taken, and given back."""

from __future__ import annotations

import random
from typing import Any

import numpy
import torch
from msgspec import Struct
from torch import Tensor


class Randomness(Struct, frozen=True):
    """The states of one process: of Python, NumPy, torch, and torch on its GPUs, if there are any."""

    python: tuple[int, tuple[int, ...], float | None]
    numpy: tuple[str, list[int], int, int, float]
    torch: bytes
    cuda: tuple[bytes, ...] = ()


def taken() -> Randomness:
    """The states as they are now."""
    name, keys, place, has, cached = numpy.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state_all() if _has_gpu() else []
    return Randomness(
        random.getstate(),
        (str(name), [int(key) for key in keys], int(place), int(has), float(cached)),
        _bytes(torch.get_rng_state()),
        tuple(_bytes(one) for one in cuda),
    )


def give_back(kept: Randomness) -> None:
    """Let every source go on from where it was."""
    random.setstate(kept.python)
    name, keys, place, has, cached = kept.numpy
    numpy.random.set_state((name, numpy.array(keys, dtype=numpy.uint32), place, has, cached))
    torch.set_rng_state(_tensor(kept.torch))
    if kept.cuda and _has_gpu():
        torch.cuda.set_rng_state_all([_tensor(one) for one in kept.cuda[: torch.cuda.device_count()]])


def _has_gpu() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()


def _bytes(state: Tensor) -> bytes:
    return state.numpy().tobytes()


def _tensor(state: bytes) -> Any:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)
