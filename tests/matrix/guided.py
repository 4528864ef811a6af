"""Guided backpropagation on a live model of torch: the other side of the comparison, which knows nothing of graphs.

Springenberg et al. 2015, section 3.4, as pytorch-grad-cam and captum have it: on the way back a ReLU passes what
arrives where that is positive and where its input was.  Other activations that rectify have the same mask in front of
their own slope, which torch works out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from tests.masked import Masked

_RECTIFIERS: dict[Any, Callable[..., torch.Tensor]] = {
    F.relu: F.relu,
    F.relu_: F.relu,
    torch.relu: F.relu,
    torch.relu_: F.relu,
    torch.Tensor.relu: F.relu,
    torch.Tensor.relu_: F.relu,
    F.relu6: F.relu6,
    F.leaky_relu: F.leaky_relu,
    F.leaky_relu_: F.leaky_relu,
    F.elu: F.elu,
    F.silu: F.silu,
    F.mish: F.mish,
    F.gelu: F.gelu,
    F.hardswish: F.hardswish,
    F.hardtanh: F.hardtanh,  # what torch.nn.ReLU6 calls; it rectifies if it begins at 0
}
"""What is masked, in place or not, by the function that is not in place."""


class Guided(TorchFunctionMode):
    """Within it the activations of every model are masked."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func not in _RECTIFIERS:
            return func(*args, **options)
        options.pop("inplace", None)
        x, *rest = args or (options.pop("input"),)
        function = _RECTIFIERS[func]
        if function is F.hardtanh and (rest or [options.get("min_val")])[0] != 0:
            return function(x, *rest, **options)
        masked: torch.Tensor = Masked.apply(x, lambda value: function(value, *rest, **options))  # type: ignore[no-untyped-call]
        return masked
