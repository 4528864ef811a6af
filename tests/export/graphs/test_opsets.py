"""Graphs of old and new opsets: from folding to a gradient."""

from __future__ import annotations

import numpy as np
import onnx as reference
import onnx_ir as ir
import onnxruntime
import pytest

from boxcam.errors import ExportError
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values, opset_of
from boxcam.export.graphs.run import observe_values, open_session, run_model, serialized
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net
from tests.export.heads import embedded, weights

_FEED = np.random.default_rng(3).standard_normal((1, 4, 6, 8)).astype(np.float32)


def old_head(opset: int) -> ir.Model:
    """What has changed between opsets 11 and 13, between ``feature`` and ``logits``."""
    net = Net(opset)
    feature = net.node("Mul", [net.input("x", _FEED.shape), np.float32(1.5)], name="feature")[0]
    y = net.Conv(feature, weights("a", 4, 4, 3, 3), pads=[1] * 4)
    y = net.BatchNormalization(y, *(np.abs(weights(key, 4)) + np.float32(0.5) for key in "bcde"))
    y = net.Clip(y, np.float32(-1), np.float32(6))
    y = net.Mul(y, net.Unsqueeze(net.ReduceSum(net.Sigmoid(y), axes=[2, 3], keepdims=0), axes=[2, 3]))
    scales = np.array([1, 1, 2, 2], np.float32)
    mode = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    y = net.Resize(y, np.zeros(0, np.float32), scales, **mode)
    y = net.Mul(net.Softmax(y, axis=1), np.float32(100))
    y = net.Pad(net.Squeeze(y, axes=[0]), np.array([0, 1, 1, 0, 1, 1]))
    y = net.node("Split", [y], 2, axis=0, split=[1, 3])[1]
    logits = net.node("Unsqueeze", [y], axes=[0], name="logits")[0]
    return net.model([feature, logits])


def patches(model: ir.Model, origin: np.ndarray) -> list[np.ndarray]:
    """The gradients of some logits by the whole feature."""
    graph = gradient.build(model, ["logits"], ["feature"])
    names = list(dict.fromkeys(["feature", *graph.inputs]))
    values = {str(value.name): value for value in all_values(model.graph)}
    found = dict(zip(names, observe_values(model, [values[n] for n in names], {"x": _FEED}), strict=True))
    engine = OnnxEngine(serialized(graph.model))
    result = []
    for (patch,) in engine.patches(Tensors(found), ["feature"], [], origin):
        whole, _ = embedded(patch.gradient, (0, patch.row, *patch.corner), found["feature"].shape)
        result.append(whole + (0 if patch.uniform is None else patch.uniform[None, :, None, None]))
    return result


@pytest.mark.parametrize("opset", [11, 12])
def test_an_old_opset_is_converted_and_differentiated(opset: int) -> None:
    model = old_head(opset)
    folded = fold_model(model)
    assert opset_of(folded) == 13
    expected, found = run_model(model, {"x": _FEED}), run_model(folded, {"x": _FEED})
    assert list(found) == ["feature", "logits"]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)
    origin = np.array([[0, 0, 0, 5, 6], [0, 0, 2, 12, 1], [0, 0, 1, 1, 16]])
    rng = np.random.default_rng(0)
    way, step = rng.standard_normal(_FEED.shape).astype(np.float32), 1e-3
    sides = [run_model(model, {"x": _FEED + np.float32(sign * step) * way})["logits"] for sign in (1, -1)]
    slopes = (sides[0].astype(float) - sides[1]) / (2 * step)
    for (_, *position), whole in zip(origin.tolist(), patches(folded, origin), strict=True):
        np.testing.assert_allclose((whole * way).sum() * 1.5, slopes[tuple(position)], rtol=2e-2, atol=2e-2)


def test_what_cannot_be_converted_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: reference.ModelProto, target: int) -> reference.ModelProto:
        raise RuntimeError("version_converter.h:42: adapt:\nno adapter for Mystery")

    monkeypatch.setattr(reference.version_converter, "convert_version", fail)
    expected = (
        r"has opset 12 and cannot be converted to 13 \(no adapter for Mystery\). Export it with opset 13 or newer"
    )
    with pytest.raises(ExportError, match=expected):
        fold_model(old_head(12))


def newest() -> int:
    """The newest opset that both onnx and ONNX Runtime know."""
    for opset in range(reference.defs.onnx_opset_version(), 17, -1):
        net = Net(opset)
        try:
            open_session(net.model([net.Relu(net.input("x", (1,)))]))
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
            continue
        return opset
    raise AssertionError("ONNX Runtime runs nothing newer than opset 17")


def modern_head(opset: int) -> ir.Model:
    net = Net(opset)
    feature = net.node("Mul", [net.input("x", _FEED.shape), np.float32(1.5)], name="feature")[0]
    y = net.Sigmoid(net.Conv(feature, weights("a", 4, 4, 3, 3), pads=[1] * 4))
    scale = np.abs(weights("b", 4)) + np.float32(0.5)
    y = net.Add(y, net.GroupNormalization(y, scale, weights("c", 4), num_groups=2))
    y = net.Mul(y, net.ReduceMean(y, np.array([2, 3])))
    logits = net.node("Conv", [y, weights("d", 2, 4, 3, 3)], pads=[1] * 4, name="logits")[0]
    return net.model([feature, logits])


def test_the_newest_opset_gives_the_gradient_of_an_older_one() -> None:
    opset = newest()
    assert opset >= 21
    origin = np.array([[0, 0, 1, 2, 7], [0, 0, 0, 5, 0]])
    model = fold_model(modern_head(opset))
    assert opset_of(model) == opset
    for new, old in zip(patches(model, origin), patches(fold_model(modern_head(21)), origin), strict=True):
        assert np.abs(old).max() > 1e-2
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)


def test_an_opset_that_onnx_runtime_does_not_know_is_refused_in_words() -> None:
    net = Net(99)
    with pytest.raises(ExportError, match=r"^onnxruntime [\d.]+ cannot load the model \(opset 99\): [^\n]+$"):
        fold_model(ir.from_proto(net.proto([net.Relu(net.input("x", (1,)))])))
