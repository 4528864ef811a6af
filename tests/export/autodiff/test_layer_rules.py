"""Rules of layers beyond their cases: sizes that are open until the model runs, linear maps, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.autodiff.rule import OPSET
from boxcam.export.autodiff.rules import sampling
from boxcam.export.autodiff.vjp import SEED, vjp
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.run import run_model
from tests.export.export_graphs import Net

_rng = np.random.default_rng(9)


def _r(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape).astype(np.float32)


def _model(
    operator: str, shape: Sequence[int | str], constants: Sequence[Any], attributes: dict[str, Any], opset: int = 18
) -> tuple[ir.Model, str]:
    """One node, of an input and constants."""
    net = Net(opset)
    y = net.node(operator, [net.input("x", shape), *constants], **attributes)[0]
    model = ir.from_proto(onnx.shape_inference.infer_shapes(net.proto([y])))
    if operator == "GroupNormalization":  # a function, through which ONNX infers no shape
        model.graph.outputs[0].shape = ir.Shape(shape)
    return model, y


def _gradient(model: ir.Model, output: str, x: np.ndarray, arrived: np.ndarray) -> np.ndarray:
    y = run_model(model, {"x": x})
    return run_model(vjp(model, output, ["x"]), {"x": x, SEED: arrived, **y})["gradient.0"]


_ROIS = np.array([[0.5, 1, 5, 4], [-2, 1, 9, 2.5], [3, 3, 1, 2]], np.float32)

OPEN: list[tuple[str, tuple[int | str, ...], tuple[int, ...], tuple[Any, ...], dict[str, Any]]] = [
    ("Conv", ("n", 2, "h", "w"), (2, 2, 5, 6), (_r(3, 2, 3, 3),), {"pads": [1, 1, 1, 1]}),
    ("Conv", ("n", 2, 5, 6), (2, 2, 5, 6), (_r(3, 2, 3, 3),), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("ConvTranspose", ("n", 2, 5, 6), (2, 2, 5, 6), (_r(2, 3, 2, 2),), {"strides": [2, 2]}),
    ("MaxPool", ("n", 2, "h", "w"), (2, 2, 5, 6), (), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    ("AveragePool", ("n", "c", 5, 6), (2, 2, 5, 6), (), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    ("GlobalAveragePool", ("n", 2, "h", "w"), (2, 2, 5, 6), (), {}),
    ("GlobalAveragePool", ("n", 2, 5, "w"), (2, 2, 5, 6), (), {}),
    ("GlobalMaxPool", ("n", 2, "h", "w"), (2, 2, 5, 6), (), {}),
    ("ReduceMean", ("n", "c", "h"), (2, 3, 4), (np.array([-2]),), {"keepdims": 0}),
    ("ReduceMean", ("n", "c", "h"), (2, 3, 4), (), {}),
    ("ReduceSum", ("n", "c", "h"), (2, 3, 4), (np.array([0, 2]),), {}),
    ("ReduceMax", ("n", "c", "h"), (2, 3, 4), (np.array([1]),), {"keepdims": 0}),
    ("Softmax", ("n", "c", "h"), (2, 3, 4), (), {}),
    ("MatMul", ("n", "c", 4), (2, 3, 4), (_r(4, 5),), {}),
    ("MatMul", ("n", "c", 4), (2, 3, 4), (_r(2, 4, 5),), {}),
    ("Gemm", ("n", 4), (2, 4), (_r(5, 4), _r(5)), {"transB": 1}),
    ("Einsum", ("n", "c", "h"), (2, 3, 4), (_r(4, 5),), {"equation": "nch,hk->nck"}),
    ("InstanceNormalization", ("n", 3, "h", "w"), (2, 3, 4, 5), (_r(3), _r(3)), {}),
    ("GroupNormalization", ("n", 4, "h", "w"), (2, 4, 4, 5), (_r(2), _r(2)), {"num_groups": 2}),
    ("LayerNormalization", ("n", "c", 5), (2, 3, 5), (_r(5), _r(5)), {}),
    ("LRN", ("n", 4, "h", "w"), (2, 4, 4, 5), (), {"size": 3}),
    ("Resize", ("n", "c", 4, 5), (2, 2, 4, 5), (None, np.array([1, 1, 2, 1.6])), {"mode": "linear"}),
    ("Resize", ("n", "c", 4, 5), (2, 2, 4, 5), (None, np.array([1, 1, 2.0, 2.0])), {"mode": "nearest"}),
    ("RoiAlign", (1, "c", "h", "w"), (1, 2, 6, 7), (_ROIS, np.zeros(3, np.int64)), {"output_height": 2}),
    ("RoiAlign", ("n", 2, "h", "w"), (2, 2, 6, 7), (_ROIS, np.array([1, 0, 1])), {"sampling_ratio": 2}),
    ("GridSample", ("n", "c", 4, 5), (2, 3, 4, 5), (_r(2, 3, 2, 2),), {}),
]


@pytest.mark.parametrize(("operator", "dims", "shape", "constants", "attributes"), OPEN)
def test_open_sizes_give_the_same_gradient(
    operator: str,
    dims: tuple[int | str, ...],
    shape: tuple[int, ...],
    constants: tuple[Any, ...],
    attributes: dict[str, Any],
) -> None:
    x = _r(*shape)
    known, output = _model(operator, shape, constants, attributes)
    arrived = _r(2, *run_model(known, {"x": x})[output].shape)
    expected = _gradient(known, output, x, arrived)
    free, output = _model(operator, dims, constants, attributes)
    ours = _gradient(free, output, x, arrived)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def _crop(*roi: float) -> dict[str, Any]:
    return {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 2.0}


_ONE = (1, 2, 6, 5)
LINEAR: list[tuple[str, tuple[int, ...], tuple[Any, ...], dict[str, Any], int]] = [
    ("Resize", _ONE, (None, None, np.array([9, 7])), {"mode": "linear", "axes": [2, 3]}, 18),
    ("Resize", _ONE, (None, None, np.array([9, 7])), {"mode": "linear", "axes": [-1, -2]}, 18),
    ("Resize", _ONE, (None, np.array([1.6, 2.0])), {"mode": "cubic", "axes": [3, 2]}, 18),
    ("Resize", _ONE, (None, None, np.array([12, 20])), {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, 18),
    ("Resize", _ONE, (None, np.array([1, 1, 0.7, 2.3])), {"mode": "linear", "antialias": 1}, 18),
    ("Resize", _ONE, (np.array([1, 1, 2.0, 1.5]),), {"mode": "linear"}, 10),
    ("Resize", _ONE, (np.array([1, 1, 2.0, 3.0]),), {"mode": "nearest"}, 10),
    ("Resize", _ONE, (np.array([0, 0, 0.1, 0.2, 1, 1, 1.3, 0.7]), None, np.array([1, 2, 6, 4])), _crop(), 18),
    ("Upsample", _ONE, (np.array([1, 1, 2.0, 1.5]),), {"mode": "linear"}, 9),
    ("Upsample", _ONE, (np.array([1, 1, 2.0, 2.0]),), {"mode": "nearest"}, 9),
    *(
        ("RoiAlign", _ONE, (_ROIS, np.zeros(3, np.int64)), {"output_height": 3, "output_width": 2, **more}, opset)
        for opset in (10, 16)
        for more in ({"sampling_ratio": 2}, {"sampling_ratio": 0, "spatial_scale": 0.8})
    ),
    *(
        ("GridSample", _ONE, (1.5 * _r(1, 3, 4, 2),), {"padding_mode": padding, "align_corners": corners, **more}, 16)
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
        for more in ({}, {"mode": "bicubic"})
    ),
    ("DeformConv", _ONE, (_r(3, 2, 3, 3), 2 * _r(1, 18, 2, 2), None, _r(1, 9, 2, 2)), {"strides": [2, 2]}, 19),
    (
        "DeformConv",
        _ONE,
        (_r(4, 1, 3, 2), 2 * _r(1, 24, 4, 2)),
        {"group": 2, "offset_group": 2, "dilations": [1, 3]},
        22,
    ),
    *(
        ("AveragePool", _ONE, (), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1] * 4, **more}, opset)
        for opset in (11, 19, 22)
        for more in ({"ceil_mode": 1}, {"ceil_mode": 1, "count_include_pad": 1}, {"count_include_pad": 1})
    ),
    ("ConvTranspose", _ONE, (_r(2, 3, 3, 3),), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 18),
    ("Col2Im", (2, 18, 6), (np.array([5, 4]), np.array([3, 3])), {"strides": [2, 2], "pads": [1] * 4}, 18),
    ("ConvTranspose", _ONE, (_r(2, 3, 3, 3),), {"strides": [2, 2], "output_shape": [12, 11]}, 18),
    ("Conv", _ONE, (_r(3, 2, 4, 4),), {"strides": [1, 2], "auto_pad": "SAME_LOWER"}, 18),
]


@pytest.mark.parametrize(("operator", "shape", "constants", "attributes", "opset"), LINEAR)
def test_the_gradient_is_the_adjoint_of_what_onnx_runtime_computes(
    operator: str, shape: tuple[int, ...], constants: tuple[Any, ...], attributes: dict[str, Any], opset: int
) -> None:
    """``⟨g, f(x) - f(0)⟩ = ⟨df(g), x⟩`` for every g and x."""
    model, output = _model(operator, shape, constants, attributes, opset)
    x = _r(*shape)
    y = (run_model(model, {"x": given})[output].astype(float) for given in (x, np.zeros_like(x)))
    change = np.subtract(*y)
    model.graph.outputs[0].shape = ir.Shape(change.shape)
    arrived = _r(3, *change.shape)
    back = _gradient(model, output, x, arrived)
    np.testing.assert_allclose(
        (arrived * change).reshape(3, -1).sum(1), (back * x).reshape(3, -1).sum(1), rtol=1e-4, atol=1e-4
    )


_REFUSED: list[tuple[str, tuple[int, ...], tuple[Any, ...], dict[str, Any], str]] = [
    ("Einsum", (3, 3), (), {"equation": "ii->i"}, "twice"),
    ("Einsum", (1, 3), (_r(2, 3),), {"equation": "ij,ij->ij"}, "broadcast"),
    ("RoiAlign", (1, 2, 6, 7), (_ROIS, np.zeros(3, np.int64)), {"mode": "max"}, "largest"),
    (
        "Resize", (1, 2, 6, 5), (None, None, np.array([9, 9])),
        {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, "aspect ratio",
    ),
    ("Resize", (1, 2, 4, 5), (None, np.array([1, 1, 1, 1.4])), {"mode": "linear"}, "makes 7 of 5"),
    ("Det", (2, 3, 3), (), {}, "no gradient rule"),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "shape", "constants", "attributes", "why"), _REFUSED)
def test_what_has_no_gradient_is_refused(
    operator: str, shape: tuple[int, ...], constants: tuple[Any, ...], attributes: dict[str, Any], why: str
) -> None:
    model, output = _model(operator, shape, constants, attributes)
    if model.graph.outputs[0].shape is None:
        model.graph.outputs[0].shape = ir.Shape(run_model(model, {"x": _r(*shape)})[output].shape)
    with pytest.raises(UnsupportedOperatorError, match=why):
        vjp(model, output, ["x"])


def _refused(net: Net, y: str, *inputs: str) -> str:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(net.proto([y])))
    with pytest.raises(UnsupportedOperatorError) as found:
        vjp(model, y, list(inputs))
    return str(found.value)


def test_a_gradient_to_weights_is_refused() -> None:
    net = Net()
    x, w = net.input("x", (1, 2, 5, 5)), net.input("w", (3, 2, 3, 3))
    assert "weights depend on the layer" in _refused(net, net.Conv(x, w), x, w)
    net = Net()
    x, scale = net.input("x", (1, 2, 5)), net.input("scale", (5,))
    assert "scale or bias depends on the layer" in _refused(net, net.LayerNormalization(x, scale), x, scale)


def test_a_computed_weight_is_used() -> None:
    net = Net()
    x, w = net.input("x", (2, 2, 5, 5)), net.input("w", (3, 2, 3, 3))
    y = net.Conv(x, w, pads=[1, 1, 1, 1])
    model = ir.from_proto(onnx.shape_inference.infer_shapes(net.proto([y])))
    given, weight, arrived = _r(2, 2, 5, 5), _r(3, 2, 3, 3), _r(2, 2, 3, 5, 5)
    ours = run_model(vjp(model, y, [x]), {"w": weight, SEED: arrived})["gradient.0"]
    fixed, output = _model("Conv", (2, 2, 5, 5), (weight,), {"pads": [1, 1, 1, 1]})
    np.testing.assert_allclose(ours, _gradient(fixed, output, given, arrived), rtol=1e-4, atol=1e-5)


def test_training_is_refused() -> None:
    net = Net()
    x = net.input("x", (2, 3, 4))
    outputs = net.node("BatchNormalization", [x, *(np.ones(3, np.float32) for _ in range(4))], 3, training_mode=1)
    assert "training" in _refused(net, outputs[0], x)


def test_the_deviation_of_a_layer_norm_is_refused() -> None:
    net = Net()
    x = net.input("x", (2, 3, 4))
    outputs = net.node("LayerNormalization", [x, np.ones(4, np.float32)], 3)
    assert "mean or deviation" in _refused(net, outputs[2], x)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_proposal_sees_no_cell_beyond_its_extent(sampling_ratio: int, mode: str, axis: int) -> None:
    size = 7
    attributes = {"sampling_ratio": sampling_ratio, "coordinate_transformation_mode": mode, "output_height": 3}
    model, _ = _model("RoiAlign", (1, 2, size, size), (_ROIS, np.zeros(3, np.int64)), attributes)
    (node,) = model.graph
    corner = _rng.uniform(-4, 9, (200, 2))
    rois = np.concatenate([corner, corner + _rng.uniform(-1, 6, (200, 2))], 1).astype(np.float32)
    rois[:20] = np.round(rois[:20])
    given = ir.Value(name="rois", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None, 4]))
    graph = ir.Graph([given], [], nodes=[], opset_imports={"": OPSET}, name="weights")
    site = sampling.Site(Ops(graph, "weights"), node, 18, lambda value: value, frozenset({0}))
    first, last = sampling.extent(site, given, axis, size)
    everywhere = np.arange(-2, size + 3)[None]
    weights = sampling.axis_weights(site, given, axis, size, everywhere)
    for name, value in (("first", first), ("last", last), ("weights", weights)):
        value.name = name
        graph.outputs.append(value)
    found = run_model(ir.Model(graph, ir_version=8), {"rois": rois})
    seen = (found["weights"] != 0).any(1)
    assert not seen[:, (everywhere[0] < 0) | (everywhere[0] >= size)].any()
    outside = (everywhere < found["first"][:, None]) | (everywhere > found["last"][:, None])
    assert not (seen & outside).any()
    assert (found["last"] - found["first"] <= size - 1).all()
    assert (found["first"] <= found["last"]).all()
