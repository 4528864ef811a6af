"""How a gradient graph reads values of the forward graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto

from boxcam.export.autodiff.vjp import vjp
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, run_model
from tests.export.export_graphs import Net

_X = np.array([[0.5, -1.0, 2.0]], np.float32)


def _gradient(net: Net, output: str) -> np.ndarray:
    """By x, of the sum of the output; forward values are ONNX Runtime's."""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(net.proto({output: TensorProto.FLOAT})))
    graph = vjp(model, output, ["x"])
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    feeds = {"x": _X}
    needed = {value.name for value in graph.graph.inputs}
    saved = [value for value in all_values(model.graph) if value.name in needed - {"x"}]
    given = {str(v.name): found for v, found in zip(saved, observe_values(model, saved, feeds), strict=True)}
    return run_model(graph, {"seed": np.ones((1, *_X.shape), np.float32), **feeds, **given})["gradient.0"][0]


def test_half_precision_within_a_graph_is_widened() -> None:
    net = Net(21)
    half = net.Cast(net.input("x", _X.shape), to=TensorProto.FLOAT16)
    weighted = net.Mul(half, np.array([1, 2, 3], np.float16))
    y = net.Cast(net.Mul(net.Sigmoid(weighted), weighted), to=TensorProto.FLOAT)
    weights = np.array([1, 2, 3])
    inner = _X * weights
    s = 1 / (1 + np.exp(-inner))
    np.testing.assert_allclose(_gradient(net, y), weights * (s + inner * s * (1 - s)), rtol=2e-3)


def test_a_cast_is_repeated_without_what_newer_opsets_say_about_it() -> None:
    net = Net(21)
    x = net.Cast(net.input("x", _X.shape), to=TensorProto.FLOAT, saturate=1)
    np.testing.assert_allclose(_gradient(net, net.Mul(x, x)), 2 * _X)


def test_the_mask_of_dropout_is_not_its_input() -> None:
    net = Net(13)
    x, mask = net.node("Dropout", [net.input("x", _X.shape)], 2)
    np.testing.assert_allclose(_gradient(net, net.Where(mask, x, np.zeros(1, np.float32))), np.ones(_X.shape))


def test_a_relu_needs_its_output_and_not_its_input() -> None:
    net = Net(13)
    before = net.node("Mul", [net.input("x", _X.shape), np.ones(3, np.float32)], name="before")[0]
    middle = net.node("Relu", [before], name="relu")[0]
    after = net.node("Clip", [net.Sub(middle, np.float32(0)), np.float32(0), np.float32(6)], name="clip")[0]
    model = ir.from_proto(onnx.shape_inference.infer_shapes(net.proto({after: TensorProto.FLOAT})))
    assert [value.name for value in vjp(model, after, ["x"]).graph.inputs] == ["seed", "clip", "relu"]
