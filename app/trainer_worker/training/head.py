"""The loss of trained positions only, without the logits of a whole batch.

A model's own loss computes logits for every position, prompts and padding included, and keeps them for the
backward pass: with a vocabulary of 50,000 that is a fifth of a small model's work and most of its memory. A
frozen head allows better: only positions with a label go through it, a tile at a time, and the gradient with
respect to the hidden states is computed along with the loss, so that nothing of a tile is kept.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutput

from app.datasets.tokenise import IGNORED

TILE = 1024


class Losses(torch.autograd.Function):
    """Cross-entropy of each position: hidden (n, h), weight (vocabulary, h), bias, labels (n) → (n)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        gradient = torch.empty_like(hidden)
        tiles = (one.split(TILE) for one in (hidden, labels, gradient, losses))
        for tile, wanted, into, lost in zip(*tiles, strict=True):
            logits = nn.functional.linear(tile, weight, bias).float()
            picked = wanted.unsqueeze(-1)
            # All in place, for a tile of logits is large. Less their greatest, none is too much for exp.
            logits.sub_(logits.amax(-1, keepdim=True))
            given = logits.gather(-1, picked)
            total = logits.exp_().sum(-1, keepdim=True)
            lost.copy_((total.log() - given).squeeze(-1))
            # The softmax, less one at the label, is the gradient with respect to the logits.
            logits.div_(total).scatter_add_(-1, picked, logits.new_full(picked.shape, -1.0))
            into.copy_(logits.to(weight.dtype) @ weight)
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].to(gradient.dtype).unsqueeze(-1), None, None, None


def has_plain_head(base: Any) -> bool:
    """Whether logits are a frozen linear map of the last hidden states and nothing else."""
    head = base.get_output_embeddings()
    config = base.config.get_text_config()
    scaled = (
        "final_logit_softcapping",
        "logit_scale",
        "logits_scaling",
        "lm_head_multiplier",
        "output_multiplier",
    )
    return (
        type(head) is nn.Linear
        and not head.weight.requires_grad
        and all(getattr(config, name, None) in (None, 1, 1.0) for name in scaled)
        and not getattr(config, "output_router_logits", False)
    )


def score_trained_positions(base: Any) -> None:
    """Let `base(…, labels=…, trained_only=True)` give the summed loss of each sequence's labels as `loss`.

    Every other call is as before. Padding stands on the right, so causal attention needs no mask for it.
    """
    before = base.forward

    @functools.wraps(type(base).forward)
    def forward(self: Any, *args: Any, trained_only: bool = False, labels: Any = None, **options: Any) -> Any:
        if not trained_only:
            return before(*args, **options, **({} if labels is None else {"labels": labels}))
        hidden = self.base_model(*args, **options, use_cache=False).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        trained = wanted != IGNORED
        head = self.get_output_embeddings()
        with torch.autocast(hidden.device.type, enabled=False):
            picked = hidden[trained].to(head.weight.dtype)
            losses = Losses.apply(picked, head.weight, head.bias, wanted[trained])
        everywhere = losses.new_zeros(trained.shape).masked_scatter(trained, losses)
        return CausalLMOutput(loss=everywhere.sum(-1))

    base.forward = types.MethodType(forward, base)
