"""Models of small inputs and of few cells, and classifiers of many classes: read right, and believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from boxcam.errors import SourceError
from boxcam.export.source import Request
from boxcam.export.sources.onnx import detections as detecting
from boxcam.export.sources.onnx import opened as opening
from tests.conventions.belief import against
from tests.conventions.files import FLOAT, Levels
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import expected, outputs, read, same
from tests.export.export_graphs import Net
from tests.export.sources.onnx.plain import SIZE, Plain


def _last_level(net: Levels) -> None:
    """Leave 2 x 3 cells."""
    net.strides, net.necks = net.strides[-1:], net.necks[-1:]


def _around_cells(net: Levels) -> dict[str, int]:
    """As of Ultralytics, with boxes that are no larger than the image."""
    net.node("Concat", [net.centres(), net.classes_of_cells()], axis=1, name="output0")
    return {"output0": FLOAT}


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("name", ["yolov5", "ultralytics"])
def test_a_map_of_few_cells_places_boxes_all_the_same(name: str, classes: int, tmp_path: Path) -> None:
    layout, path = LAYOUTS[name], tmp_path / "m.onnx"
    net = Levels(classes)
    _last_level(net)
    onnx.save(net.proto(layout.build(net) if name == "yolov5" else _around_cells(net)), str(path))
    options = {"convention": layout.entry, "class_names": [f"class {k}" for k in range(classes)]}
    found = read(path, **options)
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))
    assert against(path, **options) == {}


@pytest.mark.parametrize("anchors", [2, 4])
def test_anchors_are_no_cells(anchors: int, tmp_path: Path) -> None:
    """Each of a cell's anchors scaled by its own size: offsets, however few anchors and cells there are."""
    net = Levels(3)
    _last_level(net)
    raw = net.Reshape(net.head("box", 4 * anchors, 0), np.array([1, anchors, 4, 2, 3]))
    sizes = net.random.uniform(10, 40, (1, anchors, 4, 1, 1)).astype(np.float32)
    boxes = net.Transpose(net.Mul(net.Sigmoid(raw), sizes), perm=[0, 1, 3, 4, 2])
    net.node("Reshape", [boxes, np.array([1, -1, 4])], name="boxes")
    scores = net.Reshape(net.head("cls", 3 * anchors, 0), np.array([1, anchors, 3, 2, 3]))
    net.node("Reshape", [net.Sigmoid(net.Transpose(scores, perm=[0, 1, 3, 4, 2])), np.array([1, -1, 3])], name="scores")
    onnx.save(net.proto({"boxes": FLOAT, "scores": FLOAT}), str(tmp_path / "m.onnx"))
    found = against(tmp_path / "m.onnx", boxes="boxes", scores="scores")
    assert "asked" in found or "decoded" in found


def test_boxes_of_two_pixels_are_boxes_on_a_small_input(tmp_path: Path) -> None:
    net = Levels(3, (8,))
    sides = net.Mul(net.Add(net.Sigmoid(net.joined("box", 4)), np.float32(0.5)), np.float32(1.1))
    low, high = net.slice(sides, 0, 2, 1), net.slice(sides, 2, 4, 1)
    corners = net.Concat(net.Sub(net.points(), low), net.Add(net.points(), high), axis=1)
    net.node("Transpose", [corners], perm=[0, 2, 1], name="boxes")
    net.node("Transpose", [net.classes_of_cells()], perm=[0, 2, 1], name="scores")
    onnx.save(net.proto({"boxes": FLOAT, "scores": FLOAT}), str(tmp_path / "m.onnx"))
    assert against(tmp_path / "m.onnx") == {}


@pytest.mark.parametrize("spread", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("classes", [10, 100, 1000])
def test_a_classifiers_logits_may_be_any(classes: int, spread: float, tmp_path: Path) -> None:
    """On a few pictures some of many classes stay within 0 to 1, and others do not: that tells nothing."""
    net = Plain((1, 3, SIZE, SIZE))
    net.matrix = np.random.default_rng(classes).normal(0, spread, (net.matrix.shape[0], classes)).astype(np.float32)
    net.node(
        "Add", [net.logits(name="raw"), np.random.default_rng(1).normal(0, 2, classes).astype(np.float32)], name="p"
    )
    path = net.save(tmp_path / "m.onnx", ["p"])
    assert "scores" not in against(path)


def test_of_a_detector_keypoints_among_the_classes_are_told(tmp_path: Path) -> None:
    """That a classifier is not asked it takes nothing from detectors."""
    net = Levels(3)
    net.node("Transpose", [net.corners()], perm=[0, 2, 1], name="boxes")
    joined = net.Concat(net.classes_of_cells(), net.Mul(net.joined("more", 4), np.float32(3)), axis=1)
    net.node("Transpose", [joined], perm=[0, 2, 1], name="scores")
    onnx.save(net.proto({"boxes": FLOAT, "scores": FLOAT}), str(tmp_path / "m.onnx"))
    found = against(tmp_path / "m.onnx", boxes="boxes", scores="scores", score_activation="sigmoid")
    assert "asked" in found or "scores" in found


@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_that_suit_are_told_of_a_grey_model_too(channels: int, tmp_path: Path) -> None:
    """A map of half the size, enlarged, is joined with the image: the sides have to be even."""
    net = Net(17)
    weight = np.random.default_rng(0).normal(0, 0.3, (4, channels, 3, 3)).astype(np.float32)
    image = net.input("image", (1, channels, "h", "w"))
    half = net.Conv(image, weight, strides=[2, 2], pads=[1] * 4, kernel_shape=[3, 3])
    double = net.Resize(half, "", np.array([1, 1, 2, 2], np.float32))
    pooled = net.GlobalAveragePool(net.Concat(image, double, axis=1))
    net.node("Softmax", [net.Flatten(pooled)], name="p", axis=1)
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(net.graph({"p": FLOAT}), opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    color = "RGB" if channels == 3 else "grey"
    request = Request((str(path),), preprocess=("resize=stretch", "scale=0-1", f"color={color}"), shape=(51, 51))
    with pytest.raises(SourceError, match=r"multiples of 2\. Pass shape=\(52, 52\)"):
        detecting.detections(opening.read(request), request)
