"""Among equal ones, the gradient goes where PyTorch sends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from boxcam.export.autodiff.vjp import SEED, vjp
from boxcam.export.graphs.run import run_model
from tests.export.autodiff.differences import Case, build, evaluator, run_vjp

_rng = np.random.default_rng(8)
_FEW = _rng.integers(0, 3, (2, 2, 6, 5)).astype(float)  # many ties
_POOL = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}

_CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], Callable[[Tensor], Tensor]]] = [
    ("MaxPool", (), {"kernel_shape": [2, 2]}, lambda x: F.max_pool2d(x, 2, 1)),
    ("MaxPool", (), _POOL, lambda x: F.max_pool2d(x, 3, 2, 1)),
    ("MaxPool", (), {**_POOL, "dilations": [1, 2]}, lambda x: F.max_pool2d(x, 3, 2, 1, (1, 2))),
    ("MaxPool", (), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}, lambda x: F.max_pool2d(x, 5, 1, 2)),
    ("GlobalMaxPool", (), {}, lambda x: F.adaptive_max_pool2d(x, 1)),
    ("ReduceMax", (np.array([2, 3]),), {"keepdims": 0}, lambda x: x.amax((2, 3))),
    ("ReduceMax", (np.array([1]),), {}, lambda x: x.amax(1, keepdim=True)),
    ("ReduceMin", (np.array([-1]),), {"keepdims": 0}, lambda x: x.amin(-1)),
]

_INDEX, _PUT = _rng.integers(0, 5, (2, 2, 6, 7)), _rng.integers(0, 3, (2, 2, 6, 7)).astype(float)
_CASES += [
    (
        "ScatterElements",
        (_INDEX, _PUT),
        {"axis": 3, "reduction": kind},
        lambda x, kind=kind: x.scatter_reduce(3, torch.tensor(_INDEX), torch.tensor(_PUT), f"a{kind}"),  # type: ignore[misc]
    )
    for kind in ("max", "min")
]


def _theirs(values: np.ndarray, function: Callable[[Tensor], Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """What arrives, and PyTorch's gradient for it."""
    leaf = torch.tensor(values, requires_grad=True)
    y = function(leaf)
    arrived = _rng.standard_normal(tuple(y.shape))
    (gradient,) = torch.autograd.grad(y, leaf, torch.tensor(arrived))
    return arrived[None], gradient.numpy()


@pytest.mark.parametrize(("operator", "constants", "attributes", "function"), _CASES)
def test_a_tie_is_broken_as_in_torch(
    operator: str, constants: tuple[Any, ...], attributes: dict[str, Any], function: Callable[[Tensor], Tensor]
) -> None:
    model, feeds, output = build(Case(operator, (_FEW,), constants, attributes))
    arrived, expected = _theirs(_FEW, function)
    (ours,) = run_vjp(model, output, list(feeds), feeds, arrived)
    np.testing.assert_allclose(ours[0], expected, atol=1e-12)


@pytest.mark.parametrize("number", range(len(_CASES)))
def test_onnx_runtime_breaks_ties_so_too(number: int) -> None:
    operator, constants, attributes, function = _CASES[number]
    model, feeds, output = build(Case(operator, (_FEW,), constants, attributes))
    arrived, expected = _theirs(_FEW, function)
    forward = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    gradient = vjp(forward, output, list(feeds), np.float64)
    given = {**feeds, output: evaluator(model).run(None, feeds)[0], SEED: arrived}
    np.testing.assert_allclose(run_model(gradient, given)["gradient.0"][0], expected, atol=1e-12)


def test_a_norm_of_zeros_has_no_slope() -> None:
    zeros = np.zeros((2, 3))
    for operator, constants in (("ReduceL2", (np.array([1]),)), ("LpNormalization", ())):
        model, feeds, output = build(Case(operator, (zeros,), constants))
        shape = (1, 2, 1) if operator == "ReduceL2" else (1, 2, 3)
        (ours,) = run_vjp(model, output, list(feeds), feeds, np.ones(shape))
        np.testing.assert_array_equal(ours, zeros[None])
