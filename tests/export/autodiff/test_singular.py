"""Slopes without a limit, where a gradient does not come: 0 there, and not NaN, as of PyTorch's ReLU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, serialized
from boxcam.export.verify.onnx_gradient import embedded
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net

Array = np.ndarray


def gradients(
    net: Net, feature: str, logits: Sequence[str], x: Array, origin: list[list[int]], local: bool, guided: bool = False
) -> list[Array]:
    """Of each box, the gradient of its logit by the feature, [C, H, W]."""
    model = fold_model(net.model([feature, *logits]))
    made = gradient.build(model, logits, [feature], means=False, local=local, guided=guided)
    values = {str(value.name): value for value in all_values(model.graph)}
    names = list(dict.fromkeys([feature, *made.inputs]))
    tensors = Tensors(dict(zip(names, observe_values(model, [values[name] for name in names], {"x": x}), strict=True)))
    found = OnnxEngine(serialized(made.model)).patches(tensors, [feature], (), np.array(origin))
    return [sum(embedded(patch, *tensors[feature].shape[2:]) for patch in of) for of in found]


def weights(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ZERO: dict[str, Callable[[Net, str], str]] = {
    "Relu": lambda net, x: net.Relu(x),
    "Clip": lambda net, x: net.Clip(x, np.float32(0), np.float32(6)),
    "Max": lambda net, x: net.Max(x, np.float32(0)),
    "Max, the constant first": lambda net, x: net.Max(np.float32(0), x),
    "Min and Neg": lambda net, x: net.Neg(net.Min(net.Neg(x), np.float32(0))),
    "ThresholdedRelu": lambda net, x: net.ThresholdedRelu(x, alpha=0.5),
    "Shrink": lambda net, x: net.Shrink(net.Add(x, np.float32(1)), lambd=0.5),
    "HardSigmoid": lambda net, x: net.HardSigmoid(x, alpha=0.3, beta=0.2),
    "Where": lambda net, x: net.Where(net.Greater(x, np.float32(0)), x, np.float32(0)),
}
"""Activations that are 0 below 0 and choose, so that no gradient passes there, as PyTorch's; a product does not."""


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("name", ZERO)
def test_no_gradient_passes_an_activation_that_is_zero_whatever_comes_after(name: str, local: bool) -> None:
    """The norm over channels of one, written out, has no slope where all of them are zero."""
    net = Net()
    feature = net.Mul(net.input("x", [1, 1, 4, 4]), np.float32(1))
    y = ZERO[name](net, net.Conv(feature, np.ones((1, 1, 1, 1), np.float32)))
    norm = net.Add(net.Sqrt(net.ReduceSum(net.Mul(y, y), np.array([1]), keepdims=1)), np.float32(1e-10))
    logits = net.Conv(net.Div(y, norm), np.ones((2, 1, 3, 3), np.float32), pads=[1] * 4)
    x = np.ones((1, 1, 4, 4), np.float32)
    x[0, 0, 0, 0] = -1
    (found,) = gradients(net, feature, [logits], x, [[0, 0, 0, 1, 1]], local)
    assert found[0, 0, 0] == 0
    assert np.isfinite(found).all()


def test_a_level_without_boxes_adds_nothing_to_those_of_others() -> None:
    net = Net()
    feature = net.Mul(net.input("x", [1, 1, 4, 4]), np.float32(1))
    v = net.Neg(feature)
    u = net.Sin(net.Conv(v, weights(1, 1, 1, 1)))
    aside = net.Sqrt(net.Conv(v, weights(2, 1, 3, 3), pads=[1] * 4))  # of 0: its slope is infinite
    first = net.Add(aside, net.Conv(u, weights(2, 1, 5, 5, seed=1), pads=[2] * 4))
    second = net.Conv(u, weights(2, 1, 5, 5, seed=2), pads=[2] * 4)
    given = feature, [first, second], np.zeros((1, 1, 4, 4), np.float32), [[1, 0, 0, 0, 0], [1, 0, 1, 3, 3]]
    found, expected = (gradients(net, *given, local=local) for local in (True, False))
    assert all(np.abs(one).max() > 0 for one in found)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("local", [True, False])
def test_each_relu_of_a_product_rectifies_by_itself(local: bool) -> None:
    """Guided: what is negative stops at each of them."""
    net = Net()
    feature = net.Mul(net.input("x", [1, 1, 2, 2]), np.float32(1))
    x = net.Conv(feature, np.ones((1, 1, 1, 1), np.float32))
    y = net.Mul(net.Relu(x), net.Relu(net.Sub(np.float32(1), x)))
    logits = net.Conv(y, -np.ones((2, 1, 3, 3), np.float32), pads=[1] * 4)
    given = feature, [logits], np.full((1, 1, 2, 2), 0.75, np.float32), [[0, 0, 1, 0, 0]]
    (found,) = gradients(net, *given, local=local, guided=True)
    assert not found.any()


def test_a_window_that_is_larger_than_the_map_before_its_padding() -> None:
    """Two levels whose windows meet behind a padding of their own."""
    net = Net()
    feature = net.Mul(net.input("x", [1, 1, 4, 4]), np.float32(1))
    v = net.Sin(feature)
    padded = net.Sin(net.Pad(v, np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    first = net.Conv(padded, weights(2, 1, 5, 5, seed=1), pads=[2] * 4)
    second = net.Conv(v, weights(2, 1, 5, 5, seed=2), pads=[2] * 4)
    boxes = [[0, 0, 0, 2, 2], [1, 0, 1, 3, 3], [0, 0, 1, 5, 0]]
    given = feature, [first, second], weights(1, 1, 4, 4, seed=3), boxes
    found, expected = (gradients(net, *given, local=local) for local in (True, False))
    assert all(np.abs(one).max() > 0 for one in found)
    np.testing.assert_allclose(found, expected, atol=1e-5)
