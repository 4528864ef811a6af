"""Shapes that are known only when the model runs: carried where they can be, refused in words where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.autodiff.vjp import SEED, vjp
from boxcam.export.graphs.run import observe_values, run_model
from tests.export.export_graphs import Net

_RNG = np.random.default_rng(0)


def _model(net: Net, output: str) -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(net.proto({output: TensorProto.FLOAT}), data_prop=True))


def _net(opset: int = 18, shape: tuple[int | str, ...] = ("N", 3, "W")) -> tuple[Net, str]:
    net = Net(opset)
    return net, net.input("x", shape)


def _i(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def _total(net: Net, x: str, *axes: int) -> str:
    return net.ReduceSum(x, _i(*axes), keepdims=1)


def _zeros(net: Net, x: str, *axes: int) -> str:
    """Indices that are 0, of which nothing is known but their rank: as many as ``x`` has but for some axes, of 1."""
    first = net.Slice(x, _i(*(0 for _ in axes)), _i(*(1 for _ in axes)), _i(*axes))
    return net.Cast(net.Mul(first, np.float32(0)), to=TensorProto.INT64)


def _written(g: np.ndarray, place: tuple[Any, ...]) -> np.ndarray:
    """What comes back where the total over some axes, kept at length 1, was written to a place."""
    back = g.copy()
    back[(slice(None), *place)] = 0
    return back + g[(slice(None), *place)]


@pytest.mark.parametrize(
    ("build", "back"),
    [
        (lambda net, x: net.Reshape(x, _i(0, -1)), lambda g: g.reshape(-1, 2, 3, 4)),
        (
            lambda net, x: net.Reshape(net.Transpose(x, perm=[1, 0, 2]), _i(3, -1)),
            lambda g: g.reshape(-1, 3, 2, 4).transpose(0, 2, 1, 3),
        ),
        (lambda net, x: net.Transpose(x, perm=[2, 0, 1]), lambda g: g.transpose(0, 2, 3, 1)),
        (lambda net, x: net.Concat(np.ones((2, 3, 1), np.float32), x, axis=-1), lambda g: g[..., 1:]),
        (lambda net, x: net.Concat(x, x, x, axis=0), lambda g: g[:, :2] + g[:, 2:4] + g[:, 4:]),
        (lambda net, x: net.Slice(x, _i(1), _i(3), _i(1)), lambda g: np.pad(g, ((0, 0), (0, 0), (1, 0), (0, 0)))),
        (
            lambda net, x: net.Gather(x, _i(2, 0), axis=1),
            lambda g: np.stack([g[:, :, 1], 0 * g[:, :, 0], g[:, :, 0]], 2),
        ),
        (lambda net, x: net.Pad(x, _i(0, 1, 0, 0, 2, 0)), lambda g: g[:, :, 1:4]),
        (lambda net, x: net.CumSum(x, np.array(2)), lambda g: g[..., ::-1].cumsum(-1)[..., ::-1]),
        (lambda net, x: net.Unsqueeze(x, _i(0, 4)), lambda g: g[:, 0, ..., 0]),
        (lambda net, x: net.Squeeze(net.Unsqueeze(x, _i(1)), _i(1)), lambda g: g),
        (lambda net, x: net.Mul(x, np.full((3, 1), 2, np.float32)), lambda g: 2 * g),
        (
            lambda net, x: net.ScatterND(x, _i(1)[None], _total(net, x, 0)),
            lambda g: _written(g, (slice(1, 2),)),
        ),
        (
            lambda net, x: net.ScatterND(x, _i(1)[None], np.full((1, 3, 4), 2, np.float32), reduction="mul"),
            lambda g: g * np.float32([1, 2])[:, None, None],
        ),
        (
            lambda net, x: net.ScatterND(x, np.array([[[-1, 0]]]), _total(net, x, 0, 1), reduction="add"),
            lambda g: g + g[:, 1:, :1],
        ),
        (
            lambda net, x: net.ScatterElements(x, _zeros(net, x, 0), _total(net, x, 0), axis=0),
            lambda g: _written(g, (slice(0, 1),)),
        ),
        (
            lambda net, x: net.ScatterElements(x, _zeros(net, x, 0, 2), _total(net, x, 0, 2), axis=0),
            lambda g: _written(g, (slice(0, 1), slice(None), slice(0, 1))),
        ),
    ],
)
def test_unknown_lengths_are_carried(
    build: Callable[[Net, str], str], back: Callable[[np.ndarray], np.ndarray]
) -> None:
    net, x = _net()
    y = build(net, x)
    model = _model(net, y)
    feeds = {"x": _RNG.standard_normal((2, 3, 4)).astype(np.float32)}
    seed = _RNG.standard_normal((5, *run_model(model, feeds)[y].shape)).astype(np.float32)
    graph = vjp(model, y, ["x"])
    needed = {value.name for value in graph.graph.inputs}
    saved = [value for node in model.graph for value in node.outputs if value.name in needed]
    given = {str(v.name): found for v, found in zip(saved, observe_values(model, saved, feeds), strict=True)}
    found = run_model(graph, {"seed": seed, **feeds, **given})["gradient.0"]
    np.testing.assert_allclose(found, back(seed), rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda net, x: net.Slice(x, _i(1), _i(3), _i(2)), "the length of an axis that it slices is not known"),
        (lambda net, x: net.Pad(x, _i(1, 0, 0, 0, 0, 0)), "the length of an axis that it pads is not known"),
        (
            lambda net, x: net.GatherElements(x, net.input("i", ("A", "B", "C"), TensorProto.INT64), axis=0),
            "whether its indices cover the other axes",
        ),
        (
            lambda net, x: net.node("Split", [x, None], 2, axis=2, num_outputs=2)[0],
            "the length of the axis that it splits",
        ),
        (lambda net, x: net.Compress(x, np.array([True]), axis=0), "the length of the axis that it compresses"),
        (lambda net, x: net.GatherND(x, _i(0, 0)), r"the shape of x, \[None, 3, None\], is not known"),
        (lambda net, x: net.Dropout(x, np.float32(0.5), np.array(True)), "training_mode"),
        (lambda net, x: net.Compress(x, net.input("c", ("K",), TensorProto.BOOL), axis=1), "its condition is computed"),
        (lambda net, x: net.Mod(x, x, fmod=0), "fmod is 0, which is meant for integers"),
    ],
)
def test_what_cannot_be_carried_is_refused_in_words(build: Callable[[Net, str], str], why: str) -> None:
    net, x = _net()
    y = build(net, x)
    model = _model(net, y)
    for node in model.graph:  # what shape inference leaves open has a rank all the same
        for value in node.outputs:
            value.shape = value.shape or ir.Shape([None] * 3)
    with pytest.raises(UnsupportedOperatorError, match=why):
        vjp(model, y, ["x"])


@pytest.mark.parametrize("images", [1, 2])
def test_without_proposals_the_gradient_is_zero(images: int) -> None:
    """ONNX Runtime's product of matrices over an axis of no length gives what was in the memory."""
    net = Net(16)
    x, rois = net.input("x", (images, 64, 8, 10)), net.input("rois", ("R", 4))
    batch = net.input("batch", ("R",), TensorProto.INT64)
    y = net.RoiAlign(x, rois, batch, output_height=7, output_width=7, sampling_ratio=2)
    session = onnxruntime.InferenceSession(ir.to_proto(vjp(_model(net, y), y, [x])).SerializeToString())
    for count in (150, 0, 150, 0):
        given = {
            "x": np.zeros((images, 64, 8, 10), np.float32),
            "rois": np.tile(np.array([[1, 1, 5, 6]], np.float32), (count, 1)),
            "batch": np.zeros(count, np.int64),
            SEED: np.ones((2, count, 64, 7, 7), np.float32),
        }
        (found,) = session.run(None, {one.name: given[one.name] for one in session.get_inputs()})
        assert found.shape == (2, images, 64, 8, 10)
        assert found.sum() == pytest.approx(2 * count * 64 * 49, rel=1e-5)
