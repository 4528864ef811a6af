"""Tables of all cells whose rows, classes or boxes were computed on: masked, numbered from 1, made wider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.files import FLOAT, Layout, Levels, Truth, write
from tests.conventions.layouts import corners, only
from tests.conventions.reading import expected, outputs, read, same
from tests.messages import check_message

Value = str
CLASSES: dict[str, Callable[[Levels, Value, Value], Value]] = {
    "as it is": lambda net, label, kept: label,
    "from 1": lambda net, label, kept: net.Add(label, np.float32(1)),
    "-1 for none": lambda net, label, kept: net.Where(kept, label, np.float32(-1)),
    "0 for none": lambda net, label, kept: net.Mul(label, net.Cast(kept, to=FLOAT)),
    "from 1, 0 for none": lambda net, label, kept: net.Mul(net.Add(np.float32(1), label), net.Cast(kept, to=FLOAT)),
}
ROWS: dict[str, Callable[[Levels, Value, Value], Value]] = {
    "all": lambda net, rows, kept: rows,
    "times a mask": lambda net, rows, kept: net.Mul(rows, net.Cast(kept, to=FLOAT)),
    "a mask times": lambda net, rows, kept: net.Mul(net.Cast(kept, to=FLOAT), rows),
    "or 0": lambda net, rows, kept: net.Where(kept, rows, np.float32(0)),
}


def table(number: str = "as it is", rows: str = "all", form: str = "xyxy", scores: bool = False) -> Layout:
    """Boxes, best scores and classes; or a number for the class that is made of the score, and is 0 or 1."""

    def build(net: Levels) -> dict[str, int]:
        found = net.classes_of_cells()
        best, label = net.ReduceMax(found, axes=[1], keepdims=1), net.ArgMax(found, axis=1, keepdims=1)
        kept = net.Greater(best, np.float32(0.5))
        real = net.node("Round", [best])[0] if scores else net.Cast(label, to=FLOAT)
        boxes = net.corners() if form == "xyxy" else net.centres()
        joined = net.Concat(boxes, best, CLASSES[number](net, real, kept), axis=1)
        net.node("Transpose", [ROWS[rows](net, joined, kept)], perm=[0, 2, 1], name="table")
        return {"table": FLOAT}

    def truth(given: object, classes: int) -> Truth:
        found = only(given)  # type: ignore[arg-type]
        boxes = found[:, :4] if form == "xyxy" else corners(found[:, :4])
        return Truth(boxes, np.where(found[:, 5:6] == np.arange(classes), found[:, 4:5], 0))

    return Layout("yolov10", build, truth, iou=0.5)


@pytest.mark.parametrize("form", ["xyxy", "cxcywh"])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("number", CLASSES)
def test_whole_numbers_of_integers_stay_classes(number: str, rows: str, form: str, tmp_path: Path) -> None:
    """Of two classes numbers are 0 and 1, as scores may be: the graph tells them. Masked boxes have their form."""
    layout = table(number, rows, form)
    path = write(layout, tmp_path / "m.onnx", 2)
    for options in ({}, {"convention": "yolov10"}):
        found = read(path, score_threshold=0.8, **options)
        assert (found.convention.name, found.convention.form) == (CONVENTIONS["yolov10"].title, form)
        same(found.found, expected(layout, layout.truth(outputs(path, found.image), 4), 0.8))


@pytest.mark.parametrize("number", ["as it is", "0 for none"])
def test_a_score_that_is_0_or_1_is_no_class(number: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r'may be objectness and class scores .* Pass convention="yolov5" if so'):
        read(write(table(number, scores=True), tmp_path / "m.onnx", 3))


@pytest.mark.parametrize(("number", "other"), [("from 1", 2), ("-1 for none", -1)])
def test_whole_numbers_below_0_or_above_1_are_no_scores(number: str, other: int, tmp_path: Path) -> None:
    """Whatever the graph makes them of."""
    path = write(table(number, scores=True), tmp_path / "m.onnx", 1)
    found = read(path, score_threshold=0.9)
    assert str(found.convention.labels) == "table[5]"
    assert other in only(outputs(path, found.image))[:, 5]


def widened(way: str) -> Layout:
    def build(net: Levels) -> dict[str, int]:
        boxes = net.corners()
        low, high = net.slice(boxes, 0, 2, 1), net.slice(boxes, 2, 4, 1)
        size = net.Sub(high, low)
        margin = net.Mul(size, np.float32(0.1))
        made = {
            "wider": lambda: (net.Sub(low, margin), net.Add(high, margin)),
            "size": lambda: (low, size),
            "far": lambda: (low, net.Sub(net.Mul(high, np.float32(3)), low)),
            "nothing taken away": lambda: (low, net.Sub(high, net.Mul(low, np.float32(0)))),
        }[way]()
        scores = net.classes_of_cells()
        best, label = net.ReduceMax(scores, axes=[1], keepdims=1), net.ArgMax(scores, axis=1, keepdims=1)
        net.node(
            "Transpose", [net.Concat(*made, best, net.Cast(label, to=FLOAT), axis=1)], perm=[0, 2, 1], name="table"
        )
        return {"table": FLOAT}

    return Layout("yolov10", build, lambda given, classes: Truth(*[np.zeros(0)] * 2))


@pytest.mark.parametrize("way", ["wider", "nothing taken away"])
def test_corners_that_are_moved_by_a_share_of_the_size_are_corners(way: str, tmp_path: Path) -> None:
    assert read(write(widened(way), tmp_path / "m.onnx")).convention.form == "xyxy"


def test_a_table_of_corners_and_sizes_is_told_by_the_graph_where_its_numbers_allow(tmp_path: Path) -> None:
    assert read(write(widened("size"), tmp_path / "m.onnx")).convention.form == "xywh"
    path = write(widened("far"), tmp_path / "m.onnx")
    with pytest.raises(SourceError, match="are differences, as sizes are") as caught:
        read(path)
    check_message(str(caught.value))
    for form in ("xyxy", "xywh"):
        assert f'box_format="{form}"' in str(caught.value)
        assert read(path, box_format=form).convention.form == form
