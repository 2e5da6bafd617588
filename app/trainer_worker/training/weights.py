"""The numbers that are trained: taken out of a model, and put back to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def trained_weights(model: Any) -> Weights:
    """A copy of everything that training changes, in fp32 and in the memory of the machine."""
    return {
        name: one.detach().to("cpu", torch.float32, copy=True)
        for name, one in model.named_parameters()
        if one.requires_grad
    }


def as_they_are(model: Any) -> Weights:
    """Everything that training changes, in its own type, where it is."""
    return {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}


@contextmanager
def as_it_was(model: Any, weights: Weights) -> Iterator[None]:
    """A model with other weights in place of its own, and without dropout, for as long as the block runs."""
    changed = [(one, weights[name]) for name, one in model.named_parameters() if one.requires_grad]
    own, training = [one.data for one, _ in changed], model.training
    for one, other in changed:
        one.data = other
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        for (one, _), data in zip(changed, own, strict=True):
            one.data = data


def put_back(model: Any, weights: Weights) -> None:
    """Give a model what was taken from it, in the type that it has there."""
    for name, one in model.named_parameters():
        if one.requires_grad:
            one.data = weights[name].to(one.device, copy=True)
