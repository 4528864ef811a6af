"""A gradient passes a quantized stretch of a graph as PyTorch's fake quantization lets it pass."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.autodiff.vjp import vjp
from boxcam.export.graphs.run import run_model
from tests.export.export_graphs import Net

_SCALE, _ZERO = 0.125, 3
# -16.375 … 15.5 is represented; what is half a step outside is rounded to the even neighbour.
_X = np.array([[-20.0, -16.5, -16.4375, -16.375, -1.0], [0.0, 0.3, 15.5, 15.5625, 15.75]], np.float32)


def _model(between: str | None = None) -> onnx.ModelProto:
    net = Net(13)
    x = net.input("x", _X.shape)
    integers = net.QuantizeLinear(x, np.float32(_SCALE), np.int8(_ZERO))
    if between is not None:
        integers = net.node(between, [integers])[0]
    y = net.node("DequantizeLinear", [integers, np.float32(_SCALE), np.int8(_ZERO)], name="y")[0]
    return net.proto({y: TensorProto.FLOAT})


def _gradient(model: onnx.ModelProto, seed: np.ndarray) -> np.ndarray:
    graph = vjp(ir.from_proto(onnx.shape_inference.infer_shapes(model)), "y", ["x"])
    return run_model(graph, {"seed": seed, "x": _X})["gradient.0"]


def test_a_pair_is_the_identity_where_nothing_saturates() -> None:
    x = torch.tensor(_X, requires_grad=True)
    torch.fake_quantize_per_tensor_affine(x, _SCALE, _ZERO, -128, 127).sum().backward()
    assert x.grad is not None
    expected = x.grad.numpy()
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(_gradient(_model(), np.ones((1, *_X.shape), np.float32))[0], expected)


def test_a_gradient_passes_what_moves_integers() -> None:
    seed = np.zeros((1, 5, 2), np.float32)
    seed[0, 4, 0] = 2
    gradient = _gradient(_model("Transpose"), seed)
    expected = np.zeros((1, *_X.shape))
    expected[0, 0, 4] = 2
    np.testing.assert_array_equal(gradient, expected)


def test_blocks_with_a_scale_each_are_refused() -> None:
    net = Net(21)
    x = net.input("x", (4, 2))
    scales = np.full((2, 2), 0.1, np.float32)
    y = net.DequantizeLinear(
        net.node("QuantizeLinear", [x, scales], axis=0, block_size=2)[0], scales, axis=0, block_size=2
    )
    model = ir.from_proto(onnx.shape_inference.infer_shapes(net.proto({y: TensorProto.FLOAT})))
    for value in model.graph.all_nodes():
        for output in value.outputs:
            output.shape = ir.Shape([4, 2])
    with pytest.raises(UnsupportedOperatorError, match="blocked quantization"):
        vjp(model, y, ["x"])
