"""Where a function has a kink or a tie, the gradient is the one that PyTorch gives there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.export.autodiff.differences import Case, build, run_vjp

_AT_0 = ([-1.0, 0.0, 1.0],)
_AT_HALF = ([-0.5, 0.0, 0.5, 0.6],)


def gradients(
    operator: str, values: Sequence[Sequence[float]], constants: Sequence[Any] = (), **attributes: Any
) -> Any:
    """By each of the first inputs, of the sum of the outputs."""
    case = Case(operator, tuple(np.array(v, float) for v in values), tuple(constants), attributes, opset=20)
    model, feeds, output = build(case)
    return [g[0] for g in run_vjp(model, output, list(feeds), feeds, np.ones((1, len(values[0]))))]


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "values", "function"),
    [
        ("Relu", (), {}, _AT_0, F.relu),
        ("LeakyRelu", (), {"alpha": 0.1}, _AT_0, lambda x: F.leaky_relu(x, 0.1)),
        ("LeakyRelu", (), {"alpha": -0.1}, _AT_0, lambda x: F.leaky_relu(x, -0.1)),
        ("PRelu", (), {}, (*_AT_0, [0.2]), F.prelu),
        ("Elu", (), {"alpha": 0.4}, _AT_0, lambda x: F.elu(x, 0.4)),
        ("Celu", (), {"alpha": 0.4}, _AT_0, lambda x: F.celu(x, 0.4)),
        ("Selu", (), {}, _AT_0, F.selu),
        ("ThresholdedRelu", (), {"alpha": 0.5}, _AT_HALF, lambda x: F.threshold(x, 0.5, 0)),
        ("Shrink", (), {"lambd": 0.5, "bias": 0.5}, _AT_HALF, lambda x: F.softshrink(x, 0.5)),
        ("Shrink", (), {"lambd": 0.5, "bias": 0.0}, _AT_HALF, lambda x: F.hardshrink(x, 0.5)),
        ("Softsign", (), {}, _AT_0, F.softsign),
        ("Abs", (), {}, _AT_0, torch.abs),
        ("HardSigmoid", (), {"alpha": 1 / 6}, ([-4.0, -3.0, 0.0, 3.0],), F.hardsigmoid),
        ("HardSwish", (), {}, ([-4.0, -3.0, 0.0, 3.0, 4.0],), F.hardswish),
        ("Clip", (0.0, 6.0), {}, ([-1.0, 0.0, 1.0, 6.0, 7.0],), F.relu6),
        ("Clip", (0.0,), {}, _AT_0, F.relu),
        ("Clip", (-1.0, 1.0), {}, ([-2.0, -1.0, 0.0, 1.0, 2.0],), lambda x: x.clamp(-1, 1)),
        ("Clip", (None, 1.0), {}, ([-2.0, 1.0, 2.0],), lambda x: x.clamp(max=1)),
        ("Clip", (-1.0,), {}, ([-2.0, -1.0, 2.0],), lambda x: x.clamp(min=-1)),
        ("Max", (), {}, ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]), torch.maximum),
        ("Min", (), {}, ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]), torch.minimum),
        ("Sqrt", (), {}, ([1.0, 4.0],), torch.sqrt),
        ("Pow", (), {}, ([0.0, 0.0, 0.0, 2.0, 0.0], [0.0, 1.0, 2.0, 0.0, 3.0]), torch.pow),
        ("Pow", (0.0,), {}, _AT_0, lambda x: x**0 + 0 * x),
        ("Pow", (2.0,), {}, _AT_0, lambda x: x**2),
    ],
)
def test_a_kink_has_the_slope_that_torch_gives_it(
    operator: str,
    constants: tuple[Any, ...],
    attributes: dict[str, float],
    values: tuple[list[float], ...],
    function: Callable[..., Tensor],
) -> None:
    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    wanted = torch.autograd.grad(function(*leaves).sum(), leaves)
    for ours, theirs in zip(gradients(operator, values, constants, **attributes), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)  # Celu and Elu keep their alpha as a float


@pytest.mark.parametrize("operator", ["Max", "Min"])
def test_three_that_are_equal_share_evenly(operator: str) -> None:
    shares = gradients(operator, ([1.0, 1.0], [1.0, 1.0], [1.0, 1.0]))
    np.testing.assert_allclose(shares, np.full((3, 2), 1 / 3))
