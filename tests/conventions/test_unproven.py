"""What a graph does not tell apart is asked for with both names, and what it tells is not asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.across import across
from tests.conventions.belief import against
from tests.conventions.branches import layout_of
from tests.conventions.files import FLOAT, Layout, Levels, Truth, write
from tests.conventions.hidden import one_detection
from tests.conventions.layouts import LAYOUTS, _dfl, only
from tests.conventions.reading import expected, outputs, read, same
from tests.messages import check_message

Build = Callable[[Levels], dict[str, int]]
BRANCHES = {"its own": "", "the box's": "box", "the classes'": "cls"}
"""Which branch of the head ends in the column between the box and the classes."""


KINDS = {"raw": "yolox-undecoded", "exponential": "yolox", "sigmoid": "yolov5"}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("boxes", KINDS)
@pytest.mark.parametrize("branch", BRANCHES)
def test_objectness_is_told_by_the_branch_that_ends_in_it(
    branch: str, boxes: str, transposed: bool, tmp_path: Path
) -> None:
    """Of the box's branch it is read without a word; otherwise it may be the one class of another head."""
    layout = layout_of(BRANCHES[branch], boxes, KINDS[boxes])
    layout = across(layout) if transposed else layout
    other = "ultralytics" if transposed else "ultralytics-transposed"
    path = write(layout, tmp_path / "m.onnx", 3)
    if branch == "the box's":
        found = read(path)
        assert found.convention.name == CONVENTIONS[layout.entry].title
        same(found.found, expected(layout, layout.truth(outputs(path, found.image), 3)))
        return
    with pytest.raises(SourceError, match="is ambiguous: it can be read in") as caught:
        read(path)
    check_message(str(caught.value))
    named = re.findall(r'convention="([\w-]+)"', str(caught.value))
    assert {layout.entry, other} <= set(named)
    for options in ({"convention": layout.entry}, {} if boxes == "raw" else {"class_names": list("abc")}):
        if options:
            found = read(path, **options)
            assert found.convention.objectness is not None
            same(found.found, expected(layout, layout.truth(outputs(path, found.image), 3)))
    if boxes != "raw":
        for options in ({"convention": other}, {"class_names": list("abcd")}):
            found = read(path, **options)
            assert (found.convention.objectness, found.convention.sizes[1]) == (None, 4)


def test_a_distribution_over_sides_has_a_branch_too(tmp_path: Path) -> None:
    def build(net: Levels) -> dict[str, int]:
        box = _dfl(net)
        one = net.Sigmoid(net.joined("one", 1, branch="dfl"))
        rows = net.Concat(box, one, net.classes_of_cells(), axis=1)
        net.node("Transpose", [rows], perm=[0, 2, 1], name="output")
        return {"output": FLOAT}

    layout = replace(layout_of("", "sigmoid", "yolov5"), build=build)
    path = write(layout, tmp_path / "m.onnx", 3)
    found = read(path)
    assert str(found.convention.objectness) == "output[4]"
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), 3)))


def all_cells(times: int, across_too: bool = False) -> Build:
    """A table of all cells: their boxes, best scores and classes, and no selection."""

    def build(net: Levels) -> dict[str, int]:
        boxes = net.Concat(*(net.corners(kind=f"box{k}") for k in range(times)), axis=2)
        scores = net.Concat(*(net.classes_of_cells(f"cls{k}") for k in range(times)), axis=2)
        best, label = net.ReduceMax(scores, axes=[1], keepdims=1), net.ArgMax(scores, axis=1, keepdims=1)
        rows = net.Concat(boxes, best, net.Cast(label, to=FLOAT), axis=1)
        if across_too:
            net.node("Identity", [rows], name="table")
        else:
            net.node("Transpose", [rows], perm=[0, 2, 1], name="table")
        return {"table": FLOAT}

    return build


def _all_cells_truth(given: object, classes: int) -> Truth:
    rows = only(given)  # type: ignore[arg-type]
    return Truth(rows[:, :4], np.where(rows[:, 5:6] == np.arange(classes), rows[:, 4:5], 0))


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("times", [1, 4])
def test_a_table_of_all_cells_is_one_however_long(times: int, classes: int, tmp_path: Path) -> None:
    """6144 rows are not taken for YOLOv5's either, whose one class would be the number of the class."""
    layout = Layout("end-to-end", all_cells(times), _all_cells_truth, iou=0.5, strides=(2,))
    path = write(layout, tmp_path / "m.onnx", classes)
    found = read(path, score_threshold=0.9)
    assert (found.convention.kind, str(found.convention.labels)) == ("candidates", "table[5]")
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes), 0.9))


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_numbers_of_classes_are_no_scores(classes: int, tmp_path: Path) -> None:
    """Of a table with its columns first, which no entry has."""
    layout = Layout("end-to-end", all_cells(1, across_too=True), _all_cells_truth)
    with pytest.raises(SourceError, match="no scores and boxes were found") as caught:
        read(write(layout, tmp_path / "m.onnx", classes))
    check_message(str(caught.value))


def test_a_class_that_is_always_certain_is_no_number_of_a_class(tmp_path: Path) -> None:
    """YOLOv5 of one class whose probability is 1 everywhere."""
    layout = LAYOUTS["yolov5"]
    path = write(layout, tmp_path / "m.onnx", 1)
    model = onnx.load(path)
    for k in range(3):
        node = next(node for node in model.graph.node if node.output[0] == f"all.{k}")
        bias = next(one for one in model.graph.initializer if one.name == node.input[2])
        numbers = onnx.numpy_helper.to_array(bias).copy()
        numbers[[5, 11]] = 200
        bias.CopyFrom(onnx.numpy_helper.from_array(numbers, bias.name))
    onnx.save(model, path)
    found = read(path)
    rows = only(outputs(path, found.image))
    assert (rows[:, 5] == 1).all()
    assert (str(found.convention.scores), str(found.convention.objectness)) == ("output0[5]", "output0[4]")
    same(found.found, expected(layout, layout.truth({"output0": rows[None]}, 1)))


@pytest.mark.parametrize("form", ["xyxy", "cxcywh", "xywh"])
def test_one_detection_a_picture_has_the_form_that_the_graph_computes(form: str, tmp_path: Path) -> None:
    layout = Layout("end-to-end", one_detection(form, hidden=False), lambda given, classes: Truth(*[np.zeros(0)] * 2))
    path = write(layout, tmp_path / "m.onnx", 3)
    found = read(path)
    assert found.convention.form == form
    assert against(path) == {}


def test_a_form_that_brings_each_of_a_few_boxes_nearer_to_its_cell_raises_doubts(tmp_path: Path) -> None:
    for form in ("xyxy", "cxcywh"):
        layout = Layout(
            "end-to-end", one_detection(form, hidden=True), lambda given, classes: Truth(*[np.zeros(0)] * 2)
        )
        path = write(layout, tmp_path / "m.onnx", 3)
        if form == "xyxy":
            assert against(path) == {}
            continue
        found = against(path)["place"]
        assert not isinstance(found, str)
        assert found.verdict == "doubtful"
        assert 'Pass box_format="cxcywh"' in found.sentence
        check_message(found.sentence)
        assert "place" not in against(path, box_format="cxcywh")
