"""Layouts that have more outputs or fewer classes than usual, and so nearly fit a neighbouring convention as well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.apart import APART
from tests.conventions.files import FLOAT, Layout, Levels, Truth, write
from tests.conventions.files import rename as renamed
from tests.conventions.further import FURTHER
from tests.conventions.layouts import LAYOUTS, WHOLE, corners
from tests.conventions.reading import expected, outputs, read, same

# TensorFlow Object Detection API (models/research/object_detection/exporter_lib_v2.py)


@pytest.mark.parametrize("classes", [1, 3, 4])
def test_tensorflows_scores_of_all_classes_are_no_boxes(classes: int, tmp_path: Path) -> None:
    """With a background and three classes they have four columns, and are between 0 and 1, as its boxes are."""
    layout = FURTHER["tflite"]
    net = Levels(classes)
    layout.build(net)
    post = "TFLite_Detection_PostProcess"
    names = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
    scores = net.Unsqueeze(f"{post}:2", np.array([2]))
    net.node("Concat", [scores] * (classes + 1), axis=2, name="detection_multiclass_scores")
    raw = net.Div(net.Transpose(net.corners(kind="raw"), perm=[0, 2, 1]), WHOLE)
    net.node("Gather", [raw, np.array([1, 0, 3, 2])], axis=2, name="raw_detection_boxes")
    proto = net.proto(
        dict.fromkeys([*(f"{post}{end}" for end in ("", ":1", ":2", ":3")), "detection_multiclass_scores"], FLOAT)
        | {"raw_detection_boxes": FLOAT}
    )
    renamed(proto, dict(zip((f"{post}{end}" for end in ("", ":1", ":2", ":3")), names, strict=True)))
    path = tmp_path / "m.onnx"
    onnx.save(proto, str(path))
    found = read(path)
    assert found.convention.name == CONVENTIONS["tensorflow"].title
    given = outputs(path, found.image)
    same(found.found, expected(layout, layout.truth({name: given[name] for name in names}, classes)))


# Boxes, objectness and classes that are cut out of one tensor (YOLOX, for accelerators)


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("name", ["yolox", "yolov5"])
def test_an_objectness_that_is_cut_out_of_one_tensor_stays_a_factor(name: str, classes: int, tmp_path: Path) -> None:
    """Of one class, which of the two is the class is asked for, unless names tell; either way both are factors."""
    layout = LAYOUTS[name]
    net = Levels(classes)
    (joined,) = layout.build(net)
    parts = {"first": (0, 4), "second": (4, 5), "third": (5, 5 + classes)}
    for part, (start, end) in parts.items():
        column = net.slice(joined, start, end, 2)
        net.node("Identity", [column], name=part)
    path = tmp_path / "m.onnx"
    onnx.save(net.proto(dict.fromkeys(parts, FLOAT)), str(path))
    if classes == 1:
        with pytest.raises(SourceError, match=r"the scores may be (second or third|third or second)\. Pass the right"):
            read(path)
    found = read(path, box_format="cxcywh", **({"scores": "third"} if classes == 1 else {}))
    assert str(found.convention.objectness) == "second"
    cut = outputs(path, found.image)
    whole = np.concatenate(list(cut.values()), 2)
    wanted = replace(layout, iou=0.5, single=False)
    same(found.found, expected(wanted, layout.truth({"joined": whole}, classes)))


# Boxes and scores without a batch, whose first image is taken by an index (YOLOv3: ultralytics/yolov3, models.py)


@pytest.mark.parametrize("classes", [1, 3])
def test_rows_of_the_first_image_are_those_of_its_cells(classes: int, tmp_path: Path) -> None:
    net = Levels(classes)
    joined = net.Transpose(net.Concat(net.corners(), net.classes_of_cells(), axis=1), perm=[0, 2, 1])
    rows = net.Gather(joined, net.constant(np.array(0)), axis=0)
    for name, ends in (("classes", (4, 4 + classes)), ("boxes", (0, 4))):
        net.node("Identity", [net.slice(rows, *ends, 1)], name=name)
    path = tmp_path / "m.onnx"
    onnx.save(net.proto(["classes", "boxes"]), str(path))
    found_here = read(path)
    assert found_here.convention.name == CONVENTIONS["yolov3"].title
    given = outputs(path, found_here.image)
    layout = Layout("yolov3", lambda net: {}, lambda o, c: Truth(o["boxes"], o["classes"]), iou=0.5)
    same(found_here.found, expected(layout, layout.truth(given, classes)))


# Queries (RT-DETR by Ultralytics): there may be more classes than queries


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_queries_may_be_fewer_than_columns(classes: int, tmp_path: Path) -> None:
    """300 queries of 365 classes are fewer than columns: a transformer's layers tell which axis is which."""
    net = Levels(classes)
    tokens = net.Transpose(net.lines(net.necks[-1], 8), perm=[0, 2, 1])
    shares = net.MatMul(net.random.normal(0, 2, (1, 6, 8)), net.Transpose(tokens, perm=[0, 2, 1]))
    found = net.MatMul(net.Softmax(shares, axis=-1), tokens)
    norm = net.LayerNormalization(found, np.ones(8, np.float32), np.zeros(8, np.float32), axis=-1)
    places, chances = (net.Sigmoid(net.MatMul(norm, net.random.normal(0, 1, (8, n)))) for n in (4, classes))
    net.node("Concat", [places, chances], axis=2, name="output0")
    path = tmp_path / "m.onnx"
    onnx.save(net.proto(["output0"]), str(path))
    found_here = read(path)
    assert found_here.convention.name == CONVENTIONS["ultralytics-rtdetr"].title
    (rows,) = (array[0] for array in outputs(path, found_here.image).values())
    layout = Layout("ultralytics-rtdetr", lambda net: {}, lambda o, c: truth, kind="queries")
    scores = np.where(np.arange(classes) == rows[:, 4:].argmax(1)[:, None], rows[:, 4:], 0)
    truth = Truth(corners(rows[:, :4] * WHOLE), scores)
    same(found_here.found, expected(layout, truth))


# Tables of one class have no column of classes


def test_a_table_of_one_class_has_columns_without_the_class(tmp_path: Path) -> None:
    layout = APART["one class, a table, batch, points"]
    path = write(layout, tmp_path / "m.onnx", 1)
    plain, named = read(path), read(path, columns="x1,y1,x2,y2,score")
    assert plain.convention.rest.startswith("keypoints [1, ")
    same(named.found, plain.found)
    assert set(named.found[2]) == {0}
