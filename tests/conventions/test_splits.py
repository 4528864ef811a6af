"""Where a graph splits a tensor's columns: objectness across, maps of other tasks, formats of corners, embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.errors import NothingToExplainError, SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.across import ACROSS
from tests.conventions.belief import against
from tests.conventions.files import FLOAT, Levels, Truth, write
from tests.conventions.layouts import LAYOUTS, corners, only, places, sigmoid, softmax
from tests.conventions.layouts import _dfl as dfl
from tests.conventions.reading import expected, outputs, read, same
from tests.messages import check_message

Build = Callable[[Levels], dict[str, int]]


@pytest.mark.parametrize("classes", [1, 2, 3, 80])
@pytest.mark.parametrize("written", ["with metadata", "without", "stripped", "open batch"])
@pytest.mark.parametrize("name", ACROSS)
def test_objectness_is_seen_across_too(name: str, written: str, classes: int, tmp_path: Path) -> None:
    layout = ACROSS[name]
    named = written == "with metadata"
    path = write(
        layout, tmp_path / "m.onnx", classes, names=named, strip=written == "stripped", batch=written == "open batch"
    )
    found = read(path)
    assert found.convention.name == CONVENTIONS[layout.entry].title
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))


@pytest.mark.parametrize("name", ACROSS)
def test_objectness_as_a_class_is_asked_about_or_warned_of(name: str, tmp_path: Path) -> None:
    path = write(ACROSS[name], tmp_path / "m.onnx", 3)
    names = ["o", "a", "b", "c"]
    assert set(against(path, class_names=names)) & {"asked", "decoded", "warned"}
    assert against(path, class_names=names, convention="ultralytics") != {}
    assert against(path, convention="ultralytics-extras") != {}


def with_a_map(channels: int, done: str) -> Build:
    """YOLOv8's detection, and a map of something else."""

    def build(net: Levels) -> dict[str, int]:
        net.node("Concat", [dfl(net), net.classes_of_cells()], axis=1, name="output0")
        net.node(done, [net.head("other", channels, 0)], name="map")
        return {"output0": FLOAT, "map": FLOAT}

    return build


@pytest.mark.parametrize(("classes", "channels"), [(80, 16), (10, 2), (3, 2), (3, 8), (2, 1), (33, 32)])
@pytest.mark.parametrize("named", [True, False])
def test_a_map_beside_a_detector_takes_no_classes_from_it(
    classes: int, channels: int, named: bool, tmp_path: Path
) -> None:
    layout = replace(LAYOUTS["ultralytics"], build=with_a_map(channels, "Relu" if channels > 2 else "Sigmoid"))
    path = write(layout, tmp_path / "m.onnx", classes, names=named)
    found = read(path)
    assert found.convention.sizes[1] == classes
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))


def test_the_segmentation_of_as_few_classes_is_no_reading_of_it(tmp_path: Path) -> None:
    layout = replace(LAYOUTS["ultralytics"], build=with_a_map(16, "Relu"))
    path = write(layout, tmp_path / "m.onnx", 80)
    with pytest.raises(SourceError, match='convention="ultralytics"') as caught:
        read(path, convention="ultralytics-segment")
    check_message(str(caught.value))
    read(path, convention="ultralytics")


def of_exponentials(net: Levels) -> dict[str, int]:
    """YOLOX's boxes as corner and size: the corner is the centre less half of the size."""
    LAYOUTS["yolox-undecoded"].build(net)
    net.nodes[-1].output[0] = net.nodes[-1].name = "raw"
    grid, stride = (array[None].astype(np.float32) for array in places(net.strides))
    xy, wh, rest = (net.slice("raw", *ends, 2) for ends in ((0, 2), (2, 4), (4, 5 + net.classes)))
    centre = net.Mul(net.Add(xy, grid), stride)
    size = net.Mul(net.Exp(wh), stride * np.float32(1.5))
    net.node("Concat", [net.Sub(centre, net.Mul(size, np.float32(0.5))), size, rest], axis=2, name="output")
    return {"output": FLOAT}


def of_sides(form: str) -> Build:
    """A point, and distances to the four sides."""

    def build(net: Levels) -> dict[str, int]:
        sides = net.Mul(net.Add(net.Sigmoid(net.joined("box", 4)), np.float32(0.3)), 2 * net.steps())
        low, high, points = net.slice(sides, 0, 2, 1), net.slice(sides, 2, 4, 1), net.points()
        first = net.Sub(points, low)
        second = {
            "xywh": lambda: net.Add(low, high),
            "xywh of corners": lambda: net.Sub(net.Add(points, high), first),
            "xyxy": lambda: net.Add(points, high),
            "xyxy by the size": lambda: net.Add(first, net.Add(low, high)),
            "xyxy about a centre": lambda: net.Add(points, low),
        }[form]()
        net.node("Transpose", [net.Concat(first, second, axis=1)], perm=[0, 2, 1], name="boxes")
        net.node("Transpose", [net.classes_of_cells()], perm=[0, 2, 1], name="scores")
        return {"boxes": FLOAT, "scores": FLOAT}

    return build


def from_corner(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], 1)


@pytest.mark.parametrize("classes", [1, 3])
def test_a_centre_less_half_of_the_size_is_a_corner(classes: int, tmp_path: Path) -> None:
    layout = replace(LAYOUTS["yolox"], build=of_exponentials)
    path = write(layout, tmp_path / "m.onnx", classes)
    found = read(path)
    assert found.convention.form == "xywh"
    rows = only(outputs(path, found.image))
    same(found.found, expected(layout, Truth(from_corner(rows), rows[:, 4:5] * rows[:, 5:])))
    assert "warned" not in against(path, box_format="xywh")
    assert "warned" in against(path, box_format="cxcywh")


@pytest.mark.parametrize("form", ["xywh", "xywh of corners", "xyxy", "xyxy by the size", "xyxy about a centre"])
def test_two_distances_are_a_size_and_a_point_with_one_is_a_corner(form: str, tmp_path: Path) -> None:
    layout = replace(LAYOUTS["yolov4"], build=of_sides(form), single=False)
    path = write(layout, tmp_path / "m.onnx", 3)
    found = read(path)
    assert found.convention.form == form[:4]
    boxes, scores = (value[0] for value in outputs(path, found.image).values())
    same(found.found, expected(layout, Truth(from_corner(boxes) if form[:4] == "xywh" else boxes, scores)))
    assert "warned" not in against(path, box_format=form[:4])


def raw_objectness(net: Levels) -> dict[str, int]:
    """As of YOLOv2: objectness for a sigmoid, classes for a softmax, both without."""
    joined = net.Concat(net.centres(), net.joined("obj", 1), net.joined("cls", net.classes), axis=1)
    net.node("Transpose", [joined], perm=[0, 2, 1], name="output")
    return {"output": FLOAT}


@pytest.mark.parametrize("classes", [2, 3, 80])
def test_objectness_beside_a_softmax_is_a_sigmoids(classes: int, tmp_path: Path) -> None:
    layout = replace(LAYOUTS["yolov5"], build=raw_objectness)
    path = write(layout, tmp_path / "m.onnx", classes)
    options = {"convention": "yolov5", "score_activation": "softmax", "score_threshold": 0.05}
    with pytest.warns(UserWarning, match="meant for a sigmoid"):
        found = read(path, **options)
    rows = only(outputs(path, found.image))
    truth = Truth(corners(rows[:, :4]), sigmoid(rows[:, 4:5]) * softmax(rows[:, 5:]))
    same(found.found, expected(layout, truth, 0.05))


UNITS: dict[str, Callable[[Levels, str], str]] = {
    "ReduceL2": lambda net, y: net.Div(y, net.ReduceL2(y, axes=[1], keepdims=1)),
    "torch": lambda net, y: net.Div(
        y, net.Expand(net.Clip(net.ReduceL2(y, axes=[1], keepdims=1), np.float32(1e-12)), net.Shape(y))
    ),
    "LpNormalization": lambda net, y: net.LpNormalization(y, axis=1, p=2),
    "root of squares": lambda net, y: net.Div(
        y, net.Sqrt(net.Add(net.ReduceSum(net.Mul(y, y), np.array([1]), keepdims=1), np.float32(1e-6)))
    ),
    "flattened": lambda net, y: net.Flatten(net.Div(y, net.ReduceL2(y, axes=[1], keepdims=1))),
}


def embedding(unit: str) -> Build:
    def build(net: Levels) -> dict[str, int]:
        pooled = net.Reshape(net.ReduceMean(net.necks[-1], axes=[2, 3], keepdims=1), np.array([1, 8]))
        weight = net.random.normal(0, 1, (8, 128)).astype(np.float32)
        net.node("Identity", [UNITS[unit](net, net.MatMul(pooled, weight))], name="out")
        return {"out": FLOAT}

    return build


@pytest.mark.parametrize("unit", UNITS)
def test_an_embedding_has_no_classes(unit: str, tmp_path: Path) -> None:
    net = Levels(3)
    onnx.save(net.proto(embedding(unit)(net)), str(tmp_path / "m.onnx"))
    for options in ({}, {"scores": "out"}):
        with pytest.raises(NothingToExplainError, match="it is an embedding") as caught:
            read(tmp_path / "m.onnx", **options)
        check_message(str(caught.value))


def test_classes_of_a_cosine_are_classes(tmp_path: Path) -> None:
    """What is divided by its norm is multiplied with weights afterwards."""
    net = Levels(3)
    embedding("ReduceL2")(net)
    net.node("MatMul", ["out", net.random.normal(0, 3, (128, 10)).astype(np.float32)], name="logits")
    proto = net.proto({"logits": FLOAT})
    onnx.save(proto, str(tmp_path / "m.onnx"))
    assert read(tmp_path / "m.onnx", score_threshold=None).convention.kind == "classes"
