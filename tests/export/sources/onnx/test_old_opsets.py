"""Files of old opsets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from boxcam.errors import BoxcamError
from tests.export.sources.onnx.plain import (
    IMAGE,
    SIZE,
    Plain,
    check,
    export,
    outputs,
    tensor,
)


@pytest.mark.parametrize("opset", range(7, 18))
@pytest.mark.parametrize("last", [False, True])
def test_every_opset_from_7_on_is_read(opset: int, last: bool, tmp_path: Path) -> None:
    net = Plain((1, SIZE, SIZE, 3) if last else (1, 3, SIZE, SIZE), opset=opset, last=last)
    net.logits()
    path = net.save(tmp_path / "m.onnx", ir_version=4 if opset < 9 else 8)
    model = export(path)
    check(model, tensor(IMAGE), net, IMAGE)
    (logits,) = outputs(path, image=tensor(IMAGE).transpose(0, 2, 3, 1) if last else tensor(IMAGE))
    assert model.detect(IMAGE).logits[0] == pytest.approx(logits.max(), rel=1e-5)


def test_initializers_that_are_inputs_too_are_no_inputs(tmp_path: Path) -> None:
    """As all files up to IR version 3 have them."""
    net = Plain((1, 3, SIZE, SIZE), opset=8)
    net.logits()
    model = helper.make_model(
        net.graph({"logits": TensorProto.FLOAT}), opset_imports=[helper.make_opsetid("", 8)], ir_version=3
    )
    for constant in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    onnx.save(model, str(tmp_path / "m.onnx"))
    check(export(tmp_path / "m.onnx"), tensor(IMAGE), net, IMAGE)


def test_an_opset_below_7_is_refused(tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE), opset=6)
    net.logits()
    with pytest.raises(BoxcamError, match=r"has opset 6, which is too old. Export it with opset 7 or newer"):
        export(net.save(tmp_path / "m.onnx", ir_version=4))


OLD: dict[str, Callable[[Plain, str], str]] = {
    "Upsample 9": lambda net, read: net.node("Upsample", [read, np.float32([1, 1, 2, 2])], mode="nearest")[0],
    "Upsample 9, linear": lambda net, read: net.node("Upsample", [read, np.float32([1, 1, 2, 2])], mode="linear")[0],
    "Upsample 9, by half": lambda net, read: net.node("Upsample", [read, np.float32([1, 1, 1.5, 1.7])], mode="nearest")[
        0
    ],
    "Upsample 9, linear by half": lambda net, read: net.node(
        "Upsample", [read, np.float32([1, 1, 1.5, 1.7])], mode="linear"
    )[0],
    "Slice 9": lambda net, read: net.Slice(read, starts=[1], ends=[30], axes=[2]),
    "Pad 9": lambda net, read: net.Pad(read, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5),
    "Clip 9": lambda net, read: net.Clip(read, min=0.1, max=0.8),
    "BatchNormalization 9": lambda net, read: net.BatchNormalization(
        read, np.float32([1, 2, 3]), np.float32([0.1, 0, 0]), np.float32([0.2, 0.1, 0]), np.float32([1, 0.5, 2])
    ),
    "Squeeze 9": lambda net, read: net.Squeeze(net.Unsqueeze(read, axes=[0]), axes=[0]),
    "ReduceSum 9": lambda net, read: net.Sub(read, net.ReduceSum(read, axes=[2, 3], keepdims=1)),
    "Softmax 9": lambda net, read: net.Softmax(read, axis=1),
    "Dropout 9": lambda net, read: net.Dropout(read, ratio=0.5),
    "MaxPool 9": lambda net, read: net.MaxPool(read, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1]),
    "Split 9": lambda net, read: net.Concat(*net.node("Split", [read], 2, axis=1, split=[1, 2]), axis=1),
    "Cast 9": lambda net, read: net.Cast(net.Cast(read, to=TensorProto.DOUBLE), to=TensorProto.FLOAT),
}


@pytest.mark.parametrize("case", OLD)
def test_operators_of_opset_9_keep_their_meaning(case: str, tmp_path: Path) -> None:
    """The scores of the bundle are those that ONNX Runtime gives for the file as it is."""
    net = Plain((1, 3, SIZE, SIZE), opset=9)
    net.logits(net.map(OLD[case](net, net.image)))
    path = net.save(tmp_path / "m.onnx", ir_version=4)
    found = export(path).detect(IMAGE)
    (logits,) = outputs(path, image=tensor(IMAGE))
    expected = np.exp(logits[0] - logits.max()) / np.exp(logits[0] - logits.max()).sum()
    assert np.allclose(found.scores, np.sort(expected)[::-1], atol=1e-5)
    assert np.allclose(found.logits, logits[0][found.labels], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [0.5, 0.7, 1.5, 3])
def test_the_resize_of_opset_10_keeps_its_meaning(mode: str, scale: float, tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE), opset=10)
    net.logits(net.map(net.node("Resize", [net.image, np.float32([1, 1, scale, scale])], mode=mode)[0]))
    path = net.save(tmp_path / "m.onnx", ir_version=5)
    found = export(path).detect(IMAGE)
    (logits,) = outputs(path, image=tensor(IMAGE))
    assert np.allclose(found.logits, logits[0][found.labels], rtol=1e-4, atol=1e-5)
