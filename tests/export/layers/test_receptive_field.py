"""Where cells lie: a linear net that averages turns a picture of coordinates into the centres of its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from boxcam.export.graphs.run import run_model
from boxcam.export.layers.receptive_field import cells
from tests.export.export_graphs import Net

SIZE = 64
CORNERS = [[0, 0], [1, 0], [0, 1], [1, 1]]
TWICE = np.float32([1, 1, 2, 2])


def average(net: Net, x: str, kernel: int, stride: int, pads: tuple[int, int], dilation: int = 1) -> str:
    """A convolution that takes the mean of its window."""
    weight = np.ones((1, 1, kernel, kernel)) / kernel**2
    around = [pads[0]] * 2 + [pads[1]] * 2
    return net.node("Conv", [x, weight], strides=[stride] * 2, pads=around, dilations=[dilation] * 2)[0]


def stem(net: Net, x: str) -> str:
    """A ResNet's first operators, then two more strides."""
    x = average(net, x, 7, 2, (3, 3))
    x = net.AveragePool(x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return average(net, average(net, x, 3, 2, (1, 1)), 1, 1, (0, 0))


def pyramid(net: Net, x: str) -> str:
    """A lateral connection and a coarser map on top of it: the lateral one is believed."""
    fine = average(net, x, 3, 2, (1, 1))
    coarse = average(net, fine, 3, 2, (1, 1))
    how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    up = net.Resize(coarse, None, TWICE, **how)
    return net.Add(net.Mul(up, np.float32(0)), fine)


def focus(net: Net, x: str) -> str:
    """The four pixels of each tile become channels, as YOLOX begins; then their mean."""
    tiles = net.Transpose(net.Reshape(x, np.array([1, 1, SIZE // 2, 2, SIZE // 2, 2])), perm=[0, 3, 5, 1, 2, 4])
    return net.node("Conv", [net.Reshape(tiles, np.array([1, 4, SIZE // 2, SIZE // 2])), np.ones((1, 4, 1, 1)) / 4])[0]


def slices(net: Net, x: str) -> str:
    """The same as YOLOv5 begins: each fourth pixel, four times."""
    parts = [net.Slice(x, np.array(at), np.array([99, 99]), np.array([2, 3]), np.array([2, 2])) for at in CORNERS]
    return net.node("Conv", [net.Concat(*parts, axis=1), np.ones((1, 4, 1, 1)) / 4])[0]


def transform(net: Net, x: str) -> str:
    """One image of the batch, cut and padded, and a batch again, as torchvision's detectors begin."""
    image = net.Slice(net.Gather(x, np.array(0), axis=0), np.array([4, 4]), np.array([SIZE, SIZE]), np.array([-1, -2]))
    batch = net.Squeeze(net.Unsqueeze(image, np.array([0, 1])), np.array([1]))
    return average(net, net.Pad(batch, np.array([0, 0, 2, 2, 0, 0, 0, 0])), 3, 2, (1, 1))


@pytest.mark.parametrize(
    ("build", "stride", "center"),
    [
        (lambda net, x: average(net, x, 3, 1, (1, 1)), 1, 0.5),
        (lambda net, x: average(net, x, 3, 2, (1, 1)), 2, 0.5),
        (lambda net, x: average(net, x, 2, 2, (0, 0)), 2, 1.0),
        (lambda net, x: average(net, x, 3, 2, (0, 1)), 2, 1.5),
        (lambda net, x: average(net, x, 3, 2, (2, 2), dilation=2), 2, 0.5),
        (lambda net, x: average(net, x, 16, 16, (0, 0)), 16, 8.0),
        (stem, 8, 0.5),
        (lambda net, x: net.AveragePool(x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), 2, 1.5),
        (lambda net, x: net.AveragePool(x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"), 2, 0.5),
        (lambda net, x: net.Resize(x, None, TWICE, mode="linear"), 0.5, 0.25),
        (lambda net, x: net.Resize(average(net, x, 3, 2, (1, 1)), None, TWICE, mode="linear"), 1, 0.0),
        (lambda net, x: net.Slice(x, np.array([3, 3]), np.array([99, 99]), np.array([2, 3]), np.array([2, 2])), 2, 3.5),
        (lambda net, x: average(net, net.Pad(x, np.array([0, 0, 1, 1, 0, 0, 0, 0])), 2, 2, (0, 0)), 2, 0.0),
        (pyramid, 2, 0.5),
        (focus, 2, 1.0),
        (slices, 2, 1.0),
        (transform, 2, 2.5),
    ],
)  # fmt: skip
def test_cells_lie_where_an_averaging_net_says(build: Any, stride: float, center: float) -> None:
    net = Net()
    image = net.input("image", (1, 1, SIZE, SIZE))
    net.node("Identity", [build(net, image)], name="map")
    model = net.model(["map"])
    found = cells(model.graph, model.graph.inputs[0])[model.graph.outputs[0]]
    assert (found.y.stride, found.x.stride) == (stride, stride)
    assert (found.y.center, found.x.center) == (center, center)
    across = np.broadcast_to(np.arange(SIZE, dtype=np.float32) + 0.5, (SIZE, SIZE))
    for picture, axis, line in ((across, found.x, (0, 0, -1)), (across.T, found.y, (0, 0, slice(None), -1))):
        result = run_model(model, {"image": np.ascontiguousarray(picture)[None, None]})["map"]
        middle = result.shape[-1] // 2
        row = result[0, 0, middle] if line == (0, 0, -1) else result[0, 0, :, middle]
        expected = axis.center + axis.stride * np.arange(len(row))
        inner = slice(len(row) // 4, -len(row) // 4)
        assert np.allclose(row[inner], expected[inner], atol=1e-3)


def test_a_transposed_convolution_is_the_convolution_seen_from_behind() -> None:
    net = Net()
    image = net.input("image", (1, 1, 8, 8))
    net.node("ConvTranspose", [average(net, image, 2, 2, (0, 0)), np.ones((1, 1, 2, 2))], name="map", strides=[2, 2])
    model = net.model(["map"])
    found = cells(model.graph, model.graph.inputs[0])[model.graph.outputs[0]]
    assert (found.x.stride, found.x.center) == (1, 0.5)


@pytest.mark.parametrize("order", [[0, 2, 4, 1, 3, 5], [0, 3, 5, 1, 4, 2]], ids=["halves", "turned"])
def test_maps_whose_cells_are_mixed_have_no_place(order: list[int]) -> None:
    net = Net()
    image = net.input("image", (1, 1, 8, 8))
    parts = net.Transpose(net.Reshape(image, np.array([1, 1, 4, 2, 4, 2])), perm=order)
    net.node("Reshape", [parts, np.array([1, 4, 4, 4])], name="map")
    model = net.model(["map"])
    assert model.graph.outputs[0] not in cells(model.graph, model.graph.inputs[0])
