"""Layers by name, and how many pixels a cell is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import ExportError, UnknownLayerError
from boxcam.export.layers.receptive_field import cells
from boxcam.export.layers.resolve import check_map, resolve
from boxcam.export.source import LayerTensors, SourceModel
from tests.export.export_graphs import Net

SPEC = Preprocess(8, 8, 8, 8, "fit", "top-left", (0, 0, 0), False, (0, 0, 0), (1, 1, 1), "RGB")


def conv(net: Net, x: str, stride: int, channels: tuple[int, int], kernel: int = 3, name: str | None = None) -> str:
    pad = kernel // 2
    weight = np.ones((channels[1], channels[0], kernel, kernel))
    return net.node("Conv", [x, weight], name=name, strides=[stride] * 2, pads=[pad] * 4)[0]


def stride_of(build: Any, size: tuple[int, int]) -> tuple[float, float] | None:
    net = Net()
    image = net.input("image", (1, 3, *size))
    net.node("Relu", [build(net, image)], name="map")
    model = net.model(["map"])
    found = cells(model.graph, model.graph.inputs[0]).get(model.graph.outputs[0])
    return None if found is None else (found.y.stride, found.x.stride)


def pyramid(net: Net, image: str) -> str:
    """25 → 13 by a stride, 13 → 25 by a resize, as an FPN does with odd maps."""
    half = conv(net, image, 2, (3, 2))
    up = net.Resize(half, None, None, np.array([1, 2, 25, 25]), mode="nearest")
    return conv(net, up, 1, (2, 2))


@pytest.mark.parametrize(
    ("build", "size", "expected"),
    [
        (lambda net, x: conv(net, x, 2, (3, 2)), (25, 25), (2, 2)),
        (lambda net, x: conv(net, conv(net, x, 2, (3, 2)), 2, (2, 2)), (25, 27), (4, 4)),
        (pyramid, (25, 25), (1, 1)),
        (lambda net, x: conv(net, pyramid(net, x), 2, (2, 2)), (25, 25), (2, 2)),
        (lambda net, x: net.MaxPool(x, kernel_shape=[3, 3], strides=[2, 4]), (25, 25), (2, 4)),
        (lambda net, x: net.ConvTranspose(x, np.ones((3, 2, 2, 2)), strides=[2, 2]), (7, 7), (0.5, 0.5)),
        (lambda net, x: net.Resize(x, None, np.float32([1, 1, 2, 2])), (7, 5), (0.5, 0.5)),
        (lambda net, x: net.Resize(x, None, None, np.array([1, 3, 10, 9])), (15, 9), (1.5, 1)),
        (lambda net, x: net.SpaceToDepth(x, blocksize=2), (8, 6), (2, 2)),
        (lambda net, x: net.DepthToSpace(net.Concat(x, x, x, x, axis=1), blocksize=2), (8, 6), (0.5, 0.5)),
        (lambda net, x: conv(net, net.Pad(x, np.array([0, 0, 1, 1, 0, 0, 2, 2])), 2, (3, 2)), (25, 25), (2, 2)),
        (lambda net, x: net.Transpose(conv(net, x, 2, (3, 2)), perm=[0, 2, 3, 1]), (25, 25), (2, 2)),
        (lambda net, x: net.Mul(net.Sigmoid(conv(net, net.GlobalAveragePool(x), 1, (3, 3), 1)), x), (9, 8), (1, 1)),
    ],
)
def test_strides_count_the_pixels_of_a_cell(build: Any, size: tuple[int, int], expected: tuple[float, float]) -> None:
    assert stride_of(build, size) == expected


@pytest.mark.parametrize("axes", [[2, 3], [-2, -1], [3, 2]])
def test_a_slice_with_steps_makes_larger_cells_along_its_axes(axes: list[int]) -> None:
    steps = [2 if axis in (2, -2) else 4 for axis in axes]
    ends = np.array([99, 99])
    found = stride_of(lambda net, x: net.Slice(x, np.array([1, 0]), ends, np.array(axes), np.array(steps)), (16, 16))
    assert found == (2, 4)


@pytest.mark.parametrize(
    "build",
    [
        lambda net, x: net.Reshape(x, np.array([1, 3, 2, -1])),
        lambda net, x: net.GlobalAveragePool(x),
    ],
)
def test_what_is_no_map_of_the_image_has_no_stride(build: Any) -> None:
    assert stride_of(build, (9, 8)) is None


def source() -> SourceModel:
    net = Net()
    fine = conv(net, net.input("image", (1, 3, 8, 8)), 1, (3, 2), name="/neck/fine")
    net.node("Flatten", [fine], name="flat")
    return SourceModel(
        net.model(["flat"]),
        "image",
        Outputs("boxes", "scores", "labels"),
        SPEC,
        (),
        {"neck": LayerTensors(("/neck/fine",)), "other": LayerTensors(("flat",), "roi", ("rois",))},
        ("neck",),
        {},
    )


def test_layers_are_resolved_by_the_sources_names_by_tensor_and_by_default() -> None:
    assert resolve(source(), []) == {"neck": LayerTensors(("/neck/fine",))}
    assert resolve(source(), ["other", "/neck/fine"]) == {
        "other": LayerTensors(("flat",), "roi", ("rois",)),
        "/neck/fine": LayerTensors(("/neck/fine",)),
    }


def test_an_unknown_layer_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownLayerError, match=r"no layer '/neck/fin'. Did you mean '/neck/fine' or 'neck'\?.*neck, "):
        resolve(source(), ["/neck/fin"])


def test_a_map_is_told_its_size() -> None:
    values = {str(value.name): value for node in source().model.graph for value in node.outputs}
    assert check_map(values["/neck/fine"], "neck") == (2, 8, 8)


@pytest.mark.parametrize(
    ("shape", "known"),
    [
        ((1, 128), r"\[1, 128\]"),
        ((2, 3, 4, 4), r"\[2, 3, 4, 4\]"),
        ((1, 3, None, 4), r"\[1, 3, '\?', 4\]"),
    ],
)
def test_what_is_no_map_is_refused(shape: tuple[int | None, ...], known: str) -> None:
    value = ir.Value(name="odd", shape=ir.Shape(shape))
    with pytest.raises(ExportError, match=rf"layer 'neck': tensor odd is of shape {known}"):
        check_map(value, "neck")


def test_a_tensor_of_unknown_rank_is_refused() -> None:
    with pytest.raises(ExportError, match="of unknown rank"):
        check_map(ir.Value(name="odd"), "neck")
