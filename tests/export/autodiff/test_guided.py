"""Guided gradients against PyTorch, where a function of its own masks what goes back through an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F

from boxcam.export.autodiff.guided import rectifiers
from boxcam.export.autodiff.vjp import SEED, vjp
from tests.export.autodiff.differences import evaluator, with_forward_values
from tests.export.export_graphs import Net
from tests.masked import Masked

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)) * 3
ARRIVED = np.random.default_rng(1).standard_normal((3, *X.shape))


def _gelu(net: Net, x: str) -> str:
    """As PyTorch's exporter writes it."""
    return net.Mul(net.Mul(x, net.Add(net.Erf(net.Div(x, np.array(2**0.5))), np.array(1.0))), np.array(0.5))


def _gelu_of_half(net: Net, x: str) -> str:
    return net.Mul(net.Mul(x, np.array(0.5)), net.Add(np.array(1.0), net.Erf(net.Mul(x, np.array(0.5**0.5)))))


def _gelu_tanh(net: Net, x: str) -> str:
    inner = net.Add(x, net.Mul(net.Pow(x, np.array(3.0)), np.array(0.044715)))
    gate = net.Add(net.Tanh(net.Mul(inner, np.array((2 / np.pi) ** 0.5))), np.array(1.0))
    return net.Mul(net.Mul(x, np.array(0.5)), gate)


def _relu6(net: Net, x: str) -> str:
    return net.Clip(x, np.array(0.0), np.array(6.0))


def _shifted_relu6(net: Net, x: str) -> str:
    return _relu6(net, net.Add(x, np.array(3.0)))


Torch = Callable[[torch.Tensor], torch.Tensor]
ONE: dict[str, tuple[Callable[[Net, str], str], Torch]] = {
    "Relu": (lambda n, x: n.Relu(x), F.relu),
    "LeakyRelu": (lambda n, x: n.LeakyRelu(x, alpha=0.25), lambda x: F.leaky_relu(x, 0.25)),
    "LeakyRelu, falling": (lambda n, x: n.LeakyRelu(x, alpha=-0.25), lambda x: F.leaky_relu(x, -0.25)),
    "PRelu": (
        lambda n, x: n.PRelu(x, np.array([[[0.1]], [[-0.2]], [[0.5]]])),
        lambda x: F.prelu(x, torch.tensor([0.1, -0.2, 0.5], dtype=torch.float64)),
    ),
    "ReLU6": (_relu6, F.relu6),
    "Clip from 0": (lambda n, x: n.Clip(x, np.array(0.0)), F.relu),
    "Elu": (lambda n, x: n.Elu(x, alpha=0.5), lambda x: F.elu(x, 0.5)),
    "Celu": (lambda n, x: n.Celu(x, alpha=2.0), lambda x: F.celu(x, 2.0)),
    "Selu": (lambda n, x: n.Selu(x), F.selu),
    "ThresholdedRelu": (lambda n, x: n.ThresholdedRelu(x, alpha=0.5), lambda x: F.threshold(x, 0.5, 0.0)),
    "HardSwish": (lambda n, x: n.HardSwish(x), F.hardswish),
    "Mish": (lambda n, x: n.Mish(x), F.mish),
    "Gelu": (lambda n, x: n.Gelu(x), F.gelu),
    "Gelu, by tanh": (lambda n, x: n.Gelu(x, approximate="tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "SiLU written out": (lambda n, x: n.Mul(x, n.Sigmoid(x)), F.silu),
    "SiLU, gate first": (lambda n, x: n.Mul(n.Sigmoid(x), x), F.silu),
    "quick GELU": (lambda n, x: n.Mul(x, n.Sigmoid(n.Mul(x, np.array(1.702)))), lambda x: x * (1.702 * x).sigmoid()),
    "hard swish by HardSigmoid": (
        lambda n, x: n.Mul(x, n.HardSigmoid(x, alpha=0.25)), lambda x: x * (x / 4 + 0.5).clamp(0, 1)
    ),
    "hard swish by ReLU6": (lambda n, x: n.Div(n.Mul(x, _shifted_relu6(n, x)), np.array(6.0)), F.hardswish),
    "hard swish, gate divided": (lambda n, x: n.Mul(x, n.Div(_shifted_relu6(n, x), np.array(6.0))), F.hardswish),
    "Mish written out": (lambda n, x: n.Mul(x, n.Tanh(n.Softplus(x))), F.mish),
    "GELU by Erf": (_gelu, F.gelu),
    "GELU of a half": (_gelu_of_half, F.gelu),
    "GELU by Tanh": (_gelu_tanh, lambda x: F.gelu(x, approximate="tanh")),
    "leaky ReLU by Max": (lambda n, x: n.Max(x, n.Mul(x, np.array(0.1))), lambda x: F.leaky_relu(x, 0.1)),
    "ReLU by Max": (lambda n, x: n.Max(np.array(0.0), x), F.relu),
    "squared ReLU": (lambda n, x: n.Mul(n.Relu(x), n.Relu(x)), lambda x: F.relu(x).square()),
}  # fmt: skip
_NEWER = {"HardSwish": 18, "Mish": 18, "Gelu": 20, "Gelu, by tanh": 20}

_WEIGHT = np.random.default_rng(2).standard_normal((3, 3, 1, 1))


def _excited(net: Net, x: str) -> str:
    """Squeeze and excitation, with the hard sigmoid of MobileNetV3 written out."""
    pooled = net.GlobalAveragePool(x)
    return net.Mul(x, _shifted_relu6(net, net.Conv(pooled, _WEIGHT)))


PLAIN: dict[str, tuple[Callable[[Net, str], str], Torch]] = {
    "Sigmoid": (lambda n, x: n.Sigmoid(x), torch.sigmoid),
    "Tanh": (lambda n, x: n.Tanh(x), torch.tanh),
    "Softplus": (lambda n, x: n.Softplus(x), F.softplus),
    "Clip from -1": (lambda n, x: n.Clip(x, np.array(-1.0), np.array(1.0)), lambda x: x.clamp(-1, 1)),
    "hard sigmoid": (_shifted_relu6, lambda x: F.relu6(x + 3)),
    "square": (lambda n, x: n.Mul(x, x), torch.square),
    "x tanh(x)": (lambda n, x: n.Mul(x, n.Tanh(x)), lambda x: x * x.tanh()),
    "cube": (lambda n, x: n.Mul(x, n.Mul(x, x)), lambda x: x**3),
    "Max with 1": (lambda n, x: n.Max(x, np.array(1.0)), lambda x: x.clamp(1)),
    "absolute value by Max": (lambda n, x: n.Max(x, n.Neg(x)), torch.abs),
    "squeeze and excitation": (
        _excited,
        lambda x: x * F.relu6(F.conv2d(x.mean((2, 3), keepdim=True), torch.from_numpy(_WEIGHT)) + 3),
    ),
}


class Double(Net):
    """With constants in float64."""

    def constant(self, array: Any, name: str | None = None, keep: bool = True) -> str:
        return super().constant(array, name, keep=True)


def gradient_of(write: Callable[[Net, str], str], opset: int, guided: bool) -> np.ndarray:
    """The gradient in float64 by ONNX's reference implementation."""
    net = Double(opset)
    x = net.input("x", X.shape, onnx.TensorProto.DOUBLE)
    y = write(net, x)
    model = net.proto({y: onnx.TensorProto.DOUBLE})
    inferred = ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))
    inferred.graph.outputs[0].shape = ir.Shape(X.shape)
    proto = ir.to_proto(vjp(inferred, y, [x], np.float64, guided))
    (found,) = evaluator(proto).run(None, with_forward_values(proto, model, {"x": X, SEED: ARRIVED}))
    return np.asarray(found)


def torch_gradient(function: Torch) -> np.ndarray:
    x = torch.from_numpy(X).requires_grad_(True)
    y = function(x)
    found = [torch.autograd.grad(y, x, torch.from_numpy(g), retain_graph=True)[0] for g in ARRIVED]
    return torch.stack(found).numpy()


@pytest.mark.parametrize("name", ONE)
def test_a_rectifying_activation_passes_what_is_positive_where_it_is_active(name: str) -> None:
    write, function = ONE[name]
    expected = torch_gradient(lambda x: Masked.apply(x, function))
    found = gradient_of(write, _NEWER.get(name, 18), guided=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert 0.1 < (expected != 0).mean() < 0.3  # about a quarter has both signs right
    plain = gradient_of(write, _NEWER.get(name, 18), guided=False)
    np.testing.assert_allclose(plain, torch_gradient(function), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", PLAIN)
def test_what_does_not_rectify_has_its_plain_gradient(name: str) -> None:
    write, function = PLAIN[name]
    np.testing.assert_allclose(gradient_of(write, 18, guided=True), torch_gradient(function), rtol=1e-6, atol=1e-7)


def test_all_that_arrives_is_added_up_before_it_is_masked() -> None:
    """Of 2 and -3 nothing passes, of 3 and -2 there does 1; worked out by hand."""
    net = Net()
    x = net.input("x", (1, 2))
    y = net.Relu(x)
    z = net.Add(net.Mul(y, np.array([[2, 3]], np.float32)), net.Mul(y, np.array([[-3, -2]], np.float32)))
    model = net.model([z])
    model.graph.outputs[0].shape = ir.Shape((1, 2))
    proto = ir.to_proto(vjp(model, z, [x], guided=True))
    one = np.ones((1, 2), np.float32)
    feeds = with_forward_values(proto, net.proto([z]), {"x": one, SEED: one[None]})
    assert evaluator(proto).run(None, feeds)[0].tolist() == [[[0, 1]]]


def test_what_an_activation_is_written_with_is_no_activation_of_its_own() -> None:
    """The ReLU6 in a hard swish."""
    net = Net()
    x = net.input("x", (1, 2))
    gate = _relu6(net, net.Mul(net.Add(x, np.float32(3)), np.float32(1)))
    model = net.model([net.Mul(x, gate), net.Relu(gate)])
    found = rectifiers(list(model.graph))
    assert [(y.producer().op_type, value.name) for y, value in found.items()] == [("Mul", "x"), ("Relu", "Relu_9")]
