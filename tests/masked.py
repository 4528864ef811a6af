"""Guided backpropagation through one activation, by a function of torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Masked(torch.autograd.Function):
    """Springenberg et al. 2015: what arrives passes where it is positive and the input was; then the slope."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, activation: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        ctx.activation = activation
        ctx.save_for_backward(x)
        return activation(x)

    @staticmethod
    def backward(ctx: Any, *arrived: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,), (gradient,) = ctx.saved_tensors, arrived
        with torch.enable_grad():
            again = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(ctx.activation(again).sum(), again)
        return torch.where((x > 0) & (gradient > 0), gradient * slope, torch.zeros(())), None
