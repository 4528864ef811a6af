"""Loops over the images of a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from boxcam.errors import BoxcamError
from tests.export.sources.onnx.plain import (
    IMAGE,
    SIZE,
    Plain,
    check,
    export,
    tensor,
)
from tests.messages import check_message


def looped(path: Path, trips: int | str = "batch") -> Plain:
    """A classifier that takes the images of a batch one by one, in a Loop around all but the head."""
    net = Plain((1, 3, SIZE, SIZE))
    inner = Plain((1, 3, SIZE, SIZE))
    inner._count, inner.inputs = 1000, []
    for name, kind, shape in (("step", TensorProto.INT64, ()), ("goes", TensorProto.BOOL, ())):
        inner.input(name, shape, kind)
    one = inner.Unsqueeze(inner.Gather("image", "step", axis=0), np.array([0]))
    seen = inner.node("Squeeze", [inner.map(one), np.array([0])], name="each")[0]
    inner.node("Identity", ["goes"], name="goes_on")
    body = inner.graph({"goes_on": TensorProto.BOOL, seen: TensorProto.FLOAT})
    count = np.array(trips) if isinstance(trips, int) else net.Gather(net.Shape("image"), np.array(0), axis=0)
    net.nodes.append(
        helper.make_node(
            "Loop",
            [count if isinstance(count, str) else net.constant(count), net.constant(np.array(True))],
            ["maps"],
            body=body,
            name="images",
        )
    )
    net.logits("maps" if trips in (1, "batch") else net.ReduceMean("maps", np.array([0])))
    net.save(path)
    return net


@pytest.mark.parametrize("trips", [1, "batch"])
def test_a_loop_over_a_batch_of_one_is_written_out(trips: int | str, tmp_path: Path) -> None:
    net = looped(tmp_path / "m.onnx", trips)
    check(export(tmp_path / "m.onnx"), tensor(IMAGE), net, IMAGE)


def test_a_loop_in_front_of_the_head_is_named(tmp_path: Path) -> None:
    """Two trips, of which each would read the first image."""
    net = Plain((1, 3, SIZE, SIZE))
    inner = Plain((1, 3, SIZE, SIZE))
    inner._count, inner.inputs = 1000, []
    inner.input("step", (), TensorProto.INT64)
    inner.input("goes", (), TensorProto.BOOL)
    pooled = inner.Flatten(inner.GlobalAveragePool(inner.map("image")))
    inner.node("MatMul", [pooled, net.matrix], name="each")
    inner.node("Identity", ["goes"], name="goes_on")
    body = inner.graph({"goes_on": TensorProto.BOOL, "each": TensorProto.FLOAT})
    begin = [net.constant(np.array(2)), net.constant(np.array(True))]
    net.nodes.append(helper.make_node("Loop", begin, ["scores"], body=body, name="images"))
    net.node("Squeeze", [net.node("Slice", ["scores", np.array([0]), np.array([1])])[0], np.array([0])], name="logits")
    net.save(tmp_path / "m.onnx")
    with pytest.raises(
        BoxcamError, match=r"Loop \(images\) is between the image and the scores.*Export the model without"
    ) as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))
