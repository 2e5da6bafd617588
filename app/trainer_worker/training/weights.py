"""The numbers that are trained: taken out of a model, and put back to the last bit."""

from __future__ import annotations

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


def put_back(model: Any, weights: Weights) -> None:
    """Give a model what was taken from it."""
    for name, one in model.named_parameters():
        if one.requires_grad:
            one.data = weights[name].to(one.device, copy=True)
