"""Layouts that have more outputs or fewer classes than usual, and so nearly fit a neighbouring convention as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.apart import APART
from tests.conventions.files import FLOAT, Levels, write
from tests.conventions.files import rename as renamed
from tests.conventions.further import FURTHER
from tests.conventions.layouts import WHOLE
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


# Tables of one class have no column of classes


def test_a_table_of_one_class_has_columns_without_the_class(tmp_path: Path) -> None:
    layout = APART["one class, a table, batch, points"]
    path = write(layout, tmp_path / "m.onnx", 1)
    plain, named = read(path), read(path, columns="x1,y1,x2,y2,score")
    assert plain.convention.rest.startswith("keypoints [1, ")
    same(named.found, plain.found)
    assert set(named.found[2]) == {0}
